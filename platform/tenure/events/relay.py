"""The relay: numbers committed events and carries them to the live layer, woken by NOTIFY.

PostgreSQL holds everything it needs to begin again: a relay that was killed leaves numbered events behind
its published mark, and the next one publishes them; a Valkey that lost its memory gets its history back.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

import redis

from tenure.errors import Unavailable
from tenure.events import order
from tenure.events.publish import HISTORY, Forgotten, Publisher
from tenure.kit import clock, crash
from tenure.kit.db import Database
from tenure.kit.ids import new_id
from tenure.kit.logging import get_logger

_log = get_logger("tenure.relay")
_LEASE_S: Final = 10.0
_IDLE_S: Final = 1.0
_BACK_OFF_S: Final = 1.0


class Relay:
    """One relay process; several may run, one leads."""

    def __init__(
        self,
        db: Database,
        valkey: redis.Redis,
        *,
        sample: Callable[[Publisher], None],
        on_round: Callable[[], None] = lambda: None,
    ) -> None:
        """`sample` is called every round for what is only true now (queue depths).

        `on_round` hears of each round that went through.
        """
        self._db = db
        self._publisher = Publisher(valkey, epoch=new_id("ep")[3:])
        self._sample = sample
        self._on_round = on_round
        self._holder = new_id("rly")
        self._stop = threading.Event()
        self._published: int | None = None
        self._same_database = False

    def stop(self) -> None:
        """End after the round in hand."""
        self._stop.set()

    def run(self) -> None:
        """Relay until `stop()`. Outages of PostgreSQL or Valkey are waited out."""
        while not self._stop.is_set():
            try:
                self._round()
            except (Unavailable, redis.RedisError) as error:
                _log.warning("relay.waiting", reason=type(error.__cause__ or error).__name__)
                self._same_database = False
                self._stop.wait(_BACK_OFF_S)
            else:
                self._on_round()

    def _round(self) -> None:
        numbered = self._number()
        if numbered is None:  # another relay leads
            self._stop.wait(_IDLE_S)
            return
        if numbered:
            crash.point("relay.numbered")
        self._publish()
        self._sample(self._publisher)
        if numbered == 0:
            self._db.wait_for("tenure_events", _IDLE_S)

    def _number(self) -> int | None:
        with self._db.transaction() as session:
            if order.lead(session, holder=self._holder, lease_s=_LEASE_S) is None:
                return None
            return order.number_pending(session)

    def _publish(self) -> None:
        after = self._published_upto()
        while not self._stop.is_set():
            with self._db.transaction() as session:
                events = order.after(session, after)
            if not events:
                return
            try:
                self._publisher.publish(events, after=after)
            except Forgotten:
                return  # between the look at the mark and now: the next round begins anew
            crash.point("relay.published")
            after = self._published = events[-1].seq

    def _published_upto(self) -> int:
        """Where to go on. Valkey is asked each time: it may have lost its memory and kept the connection."""
        found = self._publisher.published_upto()
        mark = -1 if found is None else found
        remembers = mark >= (self._published or 0)
        if remembers and self._same_database:
            return mark
        with self._db.transaction() as session:
            last = order.last_seq(session)
        self._same_database = True
        if remembers and mark <= last:
            return mark
        # Either Valkey knows less than was published, or the database is older than what was (restored from
        # a backup), and Valkey would refuse its events.
        _log.warning("relay.new_life", mark=mark, published=self._published, last=last)
        # Fill the streams again with about as much as they would hold.
        start = max(0, last - 10 * HISTORY)
        self._publisher.forget(epoch=new_id("ep")[3:], published_upto=start)
        self._published = start
        return start


class Every:
    """Calls something at most once per period, however often it is asked to."""

    def __init__(self, period_s: float, action: Callable[[Publisher], None]) -> None:
        """The first call acts at once."""
        self._period_s = period_s
        self._action = action
        self._next = 0.0

    def __call__(self, publisher: Publisher) -> None:
        """Act if the period has passed."""
        now = clock.monotonic()
        if now >= self._next:
            self._next = now + self._period_s
            self._action(publisher)
