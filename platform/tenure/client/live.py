"""Following channels: a connection that comes back by itself and takes up where it stood.

A thread receives, answers pings and renews the sign-in; what is to be seen waits in a bounded queue. When
nobody reads, the queue fills, the thread stops receiving, and the server cuts the connection off; it is
resumed when there is room again.
"""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from enum import StrEnum
from types import TracebackType
from typing import Any, Final, Self

from tenure.client.attempts import Deadline
from tenure.client.channels import Channels, Event, Gap, Position
from tenure.client.credentials import Credential
from tenure.client.errors import CommandRefused, LiveEnded
from tenure.client.returning import PASSING, Returning
from tenure.client.runs import ConnectionLost, RunAck, Waiting, ack_of, refusal
from tenure.client.wire import ABNORMAL, Closed, Place, Silent, Wire
from tenure.errors import TenureError
from tenure.kit import clock
from tenure.kit.ids import new_id

_WAITING: Final = 10_000
# The server pings a quiet connection after 25 s; longer silence than this is no silence but a dead line.
_SILENCE_S: Final = 40.0
_RUN_S: Final = 30.0
_RETRY_S: Final = 2.0
_STEP_S: Final = 0.2
_JOIN_S: Final = 10.0


class State(StrEnum):
    """Where the connection stands."""

    CONNECTING = "connecting"
    AUTH = "auth"
    OPEN = "open"
    RECONNECTING = "reconnecting"
    CLOSED = "closed"


class Live:
    """Events of some channels. Iterate, or ask `next` with a timeout; `close` it, or use it in a `with`."""

    def __init__(
        self,
        place: Place,
        credential: Credential,
        channels: Iterable[str],
        *,
        since: Mapping[str, Position] | None = None,
    ) -> None:
        """Connects at once, in a thread of its own."""
        self._place = place
        self._returning = Returning(credential)
        self._channels = Channels.of(channels, since)
        self._taken: dict[str, Position] = dict(since or {})
        self._items: deque[Event | Gap] = deque()
        self._waiting = Waiting()
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._state = State.CONNECTING
        self._wire: Wire | None = None
        self._end: TenureError | None = None
        self._numbers = itertools.count(1)
        self._takers: Mapping[str, Callable[[Wire, dict[str, Any]], None]] = {
            "hello": self._hello,
            "authenticated": self._authenticated,
            "ack": self._answered,
            "error": self._answered,
            "event": self._event,
            "recovered": lambda _, frame: self._show(self._channels.recovered(frame)),
            "gap": lambda _, frame: self._show(self._channels.lost(frame)),
            "auth_expiring": self._expiring,
            "pong": self._ponged,
            "goodbye": lambda _, frame: self._returning.told(frame.get("reconnect_in_ms")),
        }
        self._asked_at = clock.monotonic()
        self._pinged: tuple[str, float] | None = None
        self.connections = 0
        self.connect_s: float | None = None
        """How long the newest connection took from its first byte until the channels were followed."""
        self.round_trip_s: float | None = None
        """From a ping to its pong, on the newest connection."""
        self._thread = threading.Thread(target=self._run, name="tenure-live", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- for the one who follows ------------------------------------------------------------------------

    @property
    def state(self) -> State:
        """Where the connection stands now."""
        return self._state

    def positions(self) -> dict[str, Position]:
        """Up to where each channel was read, for `Client.live(since=...)` of another day."""
        with self._changed:
            return dict(self._taken)

    def wait_open(self, timeout_s: float = 30.0) -> None:
        """Return once the channels are followed. Raises what ended it, or TimeoutError."""
        with self._changed:
            self._changed.wait_for(lambda: self._state in {State.OPEN, State.CLOSED}, timeout_s)
            if self._state is State.CLOSED:
                raise self._end or LiveEnded(None, "closed")
            if self._state is not State.OPEN:
                raise TimeoutError("the live connection is not open yet")

    def __iter__(self) -> Iterator[Event | Gap]:
        """Events and gaps until `close`. Raises LiveEnded when coming back would not help."""
        while (item := self.next(None)) is not None:
            yield item

    def next(self, timeout_s: float | None) -> Event | Gap | None:
        """The next event or gap; None when there is none in time (None: wait for ever), or after `close`.

        Raises what ended the connection for good, after everything that arrived before was given.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._state is State.CLOSED, timeout_s)
            if self._items:
                item = self._items.popleft()
                if isinstance(item, Event) and item.offset > 0:
                    self._taken[item.channel] = Position(item.offset, item.epoch)
                self._changed.notify_all()
                return item
            if self._end is not None:
                raise self._end
            return None

    def run(self, job: str, scope: str = "", *, key: str | None = None, timeout_s: float = _RUN_S) -> RunAck:
        """Ask for a run of this job, once: after a break it is asked again with the same key.

        Raises CommandRefused, LiveEnded, and TimeoutError; after the last it may still have been accepted,
        which asking again with the same `key` tells.
        """
        frame = {"type": "run", "job": job, "scope": scope, "key": key or new_id("run")}
        deadline = Deadline.after(timeout_s)
        while True:
            self.wait_open(deadline.left_s)
            rid = self._waiting.open()
            try:
                self._say({**frame, "rid": rid})
                return ack_of(self._waiting.result(rid, deadline.left_s))
            except (ConnectionLost, Closed):
                pause = _STEP_S  # until the thread has noticed and comes back
            except CommandRefused as refused:
                pause = _RETRY_S if refused.retry_after_s is None else refused.retry_after_s
                if refused.instance_code not in PASSING or pause >= deadline.left_s:
                    raise
            self._stop.wait(min(pause, deadline.left_s))

    def close(self) -> None:
        """End the connection; iteration ends after what has arrived."""
        with self._changed:
            self._stop.set()
            wire = self._wire
            self._changed.notify_all()
        if wire is not None:
            wire.leave()
        if self._thread is not threading.current_thread():
            self._thread.join(_JOIN_S)

    # -- the thread -------------------------------------------------------------------------------------

    def _run(self) -> None:
        # What stands if the thread dies of something that nobody foresaw.
        end: TenureError | None = LiveEnded(None, "of a fault in the client")
        try:
            while not self._stop.is_set():
                pause = self._one_connection()
                self._turn(State.RECONNECTING)
                self._stop.wait(pause)
            end = None
        except TenureError as error:
            end = error
        finally:
            with self._changed:
                self._end, self._state = end, State.CLOSED
                self._changed.notify_all()

    def _one_connection(self) -> float:
        """Live through one connection; seconds until the next. Raises what is final."""
        began = self._asked_at = clock.monotonic()
        try:
            with closing(Wire(self._place)) as wire:
                with self._changed:
                    self._wire = wire
                if not self._stop.is_set():
                    self._follow(wire)
        except Closed as closed:
            if self._stop.is_set():
                return 0.0
            pause, places_lost = self._returning.after(closed, lasted_s=clock.monotonic() - began)
            for gap in self._channels.forget() if places_lost else ():
                self._show(gap)
            return pause
        finally:
            with self._changed:
                self._wire = None
            self._waiting.connection_lost()
        return 0.0

    def _follow(self, wire: Wire) -> None:
        self._turn(State.AUTH)
        while True:
            try:
                frame = wire.receive(_SILENCE_S)
            except Silent:
                raise Closed(ABNORMAL, "silence") from None
            take = self._takers.get(str(frame.get("event")))
            if take is not None:
                take(wire, frame)

    def _hello(self, wire: Wire, _frame: dict[str, Any]) -> None:
        wire.send({"type": "auth", "token": self._returning.signed_in()})

    def _authenticated(self, wire: Wire, _frame: dict[str, Any]) -> None:
        if self._state is State.AUTH:
            self._subscribe(wire, None)

    def _subscribe(self, wire: Wire, names: list[str] | None) -> None:
        wire.send({**self._channels.subscription(names), "rid": f"s{next(self._numbers)}"})

    def _answered(self, wire: Wire, frame: dict[str, Any]) -> None:
        if not str(frame.get("rid", "")).startswith("s"):
            self._waiting.answered(frame)
        elif frame["event"] == "error":
            refused = refusal(frame)
            if refused.instance_code not in PASSING:
                raise refused
            raise Closed(ABNORMAL, refused.instance_code, retry_after=refused.retry_after_s)
        else:
            self._joined(wire, frame["result"].get("channels", {}))

    def _joined(self, wire: Wire, tops: Mapping[str, Any]) -> None:
        self._channels.joined(tops)
        with self._changed:
            for one in self._channels.by_name.values():
                if one.position is not None:
                    self._taken.setdefault(one.name, one.position)
        if self._state is State.AUTH:
            self.connections += 1
            self.connect_s = clock.monotonic() - self._asked_at
            self._returning.arrived()
            self._turn(State.OPEN)
            self._ping(wire)

    def _ping(self, wire: Wire) -> None:
        self._pinged = (f"p{next(self._numbers)}", clock.monotonic())
        wire.send({"type": "ping", "id": self._pinged[0]})

    def _ponged(self, _wire: Wire, frame: dict[str, Any]) -> None:
        if self._pinged is not None and frame.get("id") == self._pinged[0]:
            self.round_trip_s = clock.monotonic() - self._pinged[1]

    def _event(self, wire: Wire, frame: dict[str, Any]) -> None:
        shown, hole = self._channels.received(frame)
        for item in shown:
            self._show(item)
        if hole is not None:
            self._subscribe(wire, [hole])

    def _expiring(self, wire: Wire, _frame: dict[str, Any]) -> None:
        token = self._returning.next_token()
        if token is not None:
            wire.send({"type": "auth-refresh", "token": token})

    def _show(self, item: Event | Gap | None) -> None:
        if item is None:
            return
        with self._changed:
            self._changed.wait_for(lambda: len(self._items) < _WAITING or self._stop.is_set())
            self._items.append(item)
            self._changed.notify_all()

    def _say(self, frame: dict[str, Any]) -> None:
        wire = self._wire
        if wire is None:
            raise Closed(ABNORMAL, "not connected")
        wire.send(frame)

    def _turn(self, state: State) -> None:
        with self._changed:
            self._state = state
            self._changed.notify_all()
