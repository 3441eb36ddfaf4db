"""A TCP proxy that spoils what passes: for faults of the way between a role and its servers.

It stands in front of one server. A mode holds until it is changed; what it did to the traffic is counted, and
the counts are the proof. Two threads carry each connection, so that a stalled one holds nobody else.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType
from typing import Final, Self

from tenure.embedded import ports

_CHUNK: Final = 65_536
_POLL_S: Final = 0.2
_BACKLOG: Final = 256
_CONNECT_S: Final = 5.0


class Mode(StrEnum):
    """What happens to traffic."""

    CLEAR = "clear"
    REFUSE = "refuse"  # new connections are reset, standing ones go on
    RESET = "reset"  # standing connections are reset at their next byte, new ones as well
    HOLE = "hole"  # nothing comes through in either direction, and nobody is told
    DEAF = "deaf"  # what clients say arrives, the answers do not: a partition of one direction
    SLOW = "slow"  # each chunk of an answer waits `delay_s`
    CUT = "cut"  # an answer that holds `mark` is thrown away and its connection reset, `cuts` times


@dataclass(frozen=True, slots=True)
class Weather:
    """A mode with its numbers."""

    mode: Mode = Mode.CLEAR
    delay_s: float = 0.0
    mark: bytes = b""
    cuts: int = 0


class Proxy:
    """One listening port in front of one server. Use as a context."""

    def __init__(self, upstream: tuple[str, int]) -> None:
        """Listens at once on a free port of loopback; carries after `start()`."""
        self._upstream = upstream
        self.port = ports.any_free()
        self._listener = ports.listen(self.port, "127.0.0.1")
        self.port = int(self._listener.getsockname()[1])
        self._lock = threading.Lock()
        self._weather = Weather()
        self._cuts_left = 0
        self._counts: Counter[str] = Counter()
        self._open: set[_Pair] = set()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._accept, name=f"proxy-{self.port}", daemon=True)

    def set(self, weather: Weather) -> None:
        """From now on. `RESET` also ends every connection that stands."""
        with self._lock:
            self._weather = weather
            self._cuts_left = weather.cuts
        if weather.mode is Mode.RESET:
            self._end_all()

    @property
    def counts(self) -> dict[str, int]:
        """What was done so far: `connections`, and by mode how many connections or chunks met it."""
        with self._lock:
            return dict(self._counts)

    def start(self) -> Self:
        """Carry connections in a thread of its own."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Nothing listens and no connection stands."""
        self._stopping.set()
        self._listener.close()
        self._end_all()
        self._thread.join()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _accept(self) -> None:
        self._listener.settimeout(_POLL_S)
        while not self._stopping.is_set():
            try:
                client, _ = self._listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return  # the listener was closed
            threading.Thread(target=self._carry, args=(client,), daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        self._count("connections")
        mode = self._weather.mode
        if mode in {Mode.REFUSE, Mode.RESET}:
            self._count(mode)
            _reset(client)
            return
        try:
            server = socket.create_connection(self._upstream, timeout=_CONNECT_S)
        except OSError:
            self._count("upstream_away")
            _reset(client)
            return
        for end in (client, server):
            end.settimeout(None)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        pair = _Pair(client, server)
        with self._lock:
            self._open.add(pair)
        back = threading.Thread(target=self._pump, args=(pair, server, client), daemon=True)
        back.start()
        self._pump(pair, client, server)
        back.join()
        with self._lock:
            self._open.discard(pair)
        pair.close()

    def _pump(self, pair: _Pair, source: socket.socket, sink: socket.socket) -> None:
        """Copy one direction until either end is gone. A polite end goes on, any other resets both."""
        answers = source is pair.server
        try:
            while chunk := source.recv(_CHUNK):
                if not self._through(chunk, answers=answers):
                    pair.doom()
                    return
                sink.sendall(chunk)
            if not pair.doomed:
                sink.shutdown(socket.SHUT_WR)
        except OSError:
            pair.doom()

    def _through(self, chunk: bytes, *, answers: bool) -> bool:
        """Whether the chunk may go on, once its weather lets it. False ends the connection."""
        weather = self._weather
        match weather.mode:
            case Mode.RESET:
                self._count(Mode.RESET)
                return False
            case Mode.HOLE | Mode.DEAF if weather.mode is Mode.HOLE or answers:
                self._count(weather.mode)
                return self._held(weather)
            case Mode.SLOW if answers:
                self._count(Mode.SLOW)
                self._stopping.wait(weather.delay_s)
            case Mode.CUT if answers and weather.mark in chunk and self._take_cut():
                self._count(Mode.CUT)
                return False
        return True

    def _held(self, weather: Weather) -> bool:
        """Wait until the weather changes. Bytes are late then, as after a partition; TCP loses none."""
        while self._weather is weather and not self._stopping.is_set():
            self._stopping.wait(_POLL_S)
        return not self._stopping.is_set() and self._weather.mode is not Mode.RESET

    def _take_cut(self) -> bool:
        with self._lock:
            if self._cuts_left == 0:
                return False
            self._cuts_left -= 1
            return True

    def _count(self, what: str) -> None:
        with self._lock:
            self._counts[str(what)] += 1

    def _end_all(self) -> None:
        with self._lock:
            standing = list(self._open)
            if standing and self._weather.mode is Mode.RESET:
                self._counts[str(Mode.RESET)] += len(standing)
        for pair in standing:
            pair.doom()


class _Pair:
    """A client's connection and ours to the server behind it."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        """Both stand."""
        self.client = client
        self.server = server
        self.doomed = False

    def doom(self) -> None:
        """Both end with a reset; who waits on them wakes up."""
        self.doomed = True
        for end in (self.client, self.server):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RD)  # wakes the reader here and tells the other side nothing

    def close(self) -> None:
        """Give both back."""
        for end in (self.client, self.server):
            if self.doomed:
                _reset(end)
            end.close()


def _reset(connection: socket.socket) -> None:
    """Close with a reset instead of a polite end."""
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
