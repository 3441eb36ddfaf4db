"""A hub in this process on either of its loops, with real sockets that a test holds the other ends of.

On gevent's loop the test's thread turns the loop whenever it waits; with threads the loop turns by itself and
the test takes the turn to touch the hub. A test that goes through `Stage` holds on both.
"""

from __future__ import annotations

import _socket
import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

from tenure.accounts.principal import Principal, Role
from tests.support.rawsocket import PONG, Frame, RawSocket, frame
from tests.support.thread_driver import thread_driver

if TYPE_CHECKING:
    from web.live.connection import Connection
    from web.live.driver import Driver
    from web.live.hub import Hub
    from web.services import Services

T = TypeVar("T")
# A buffer of the kernel that one frame fills.
SMALL = 4096
_PATIENCE_S = 20.0
_PAUSE_S = 0.005


@dataclass
class Stage:
    """A hub, and how this thread and its loop come by turns."""

    hub: Hub
    turn: AbstractContextManager[object]
    pause: Callable[[float], object]
    who: dict[Role, Principal]
    peers: list[Peer] = field(default_factory=list)

    def join(
        self,
        role: Role | None = Role.VIEWER,
        *,
        expires_at: int | None = None,
        kind: int = socket.SOCK_STREAM,
        room: int | None = None,
    ) -> tuple[Connection, Peer]:
        """A new connection of this hub and its other end, after `hello` (and `authenticated`).

        `kind` SOCK_SEQPACKET shows each write as a packet; `room` is the size of the kernel's buffer.
        """
        ours, theirs = socket.socketpair(type=kind)
        ours.setblocking(False)
        if room is not None:
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, room)
        who = None if role is None else replace(self.who[role], expires_at=expires_at)
        with self.turn:
            known = set(self.hub.connections)
            self.hub.adopt(
                _socket.socket(fileno=ours.detach()), address="127.0.0.1", principal=who, refused=None
            )
            (connection,) = self.hub.connections - known
        peer = Peer(theirs, self)
        self.peers.append(peer)
        for _ in range(1 if role is None else 2):
            peer.arrives()
        return connection, peer

    def until(self, condition: Callable[[], T], what: str = "") -> T:
        """The condition's first true value, looked at within the turn."""
        deadline = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline:
            with self.turn:
                value = condition()
            if value:
                return value
            self.pause(_PAUSE_S)
        raise AssertionError(f"not within {_PATIENCE_S} s: {what}")

    def tick(self, *, late_s: float = 0.0) -> None:
        """The timer's call comes, so much later than it should have."""
        with self.turn:
            self.hub._ticked = time.monotonic() - 1 - late_s
            self.hub._tick()

    def age(self, connection: Connection, seconds: float) -> None:
        """Everything that this connection remembers happened so much earlier."""
        with self.turn:
            connection.last_rx -= seconds
            connection.auth_deadline -= seconds
            connection.pinged -= seconds if connection.pinged else 0
            connection.expires -= seconds if connection.expires else 0
            connection.backlog_since -= seconds


class Peer(RawSocket):
    """The other end of a connection."""

    def __init__(self, sock: socket.socket, stage: Stage) -> None:
        self.sock = sock
        self.sock.setblocking(False)
        self._buffer = b""
        self._stage = stage

    def arrives(self) -> Frame:
        """The next frame. Fails at the end of the stream."""
        one = self.frame()
        if one is None:
            raise AssertionError("the stream has ended")
        return one

    def packet(self) -> bytes:
        """What arrives next: on SOCK_SEQPACKET one write of the hub; empty at the end."""
        deadline = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline:
            try:
                return self.sock.recv(1_000_000)
            except BlockingIOError:
                self._stage.pause(_PAUSE_S)
            except ConnectionResetError:
                return b""
        raise AssertionError("nothing came")

    def taken(self, data: bytes) -> list[Frame]:
        """The whole frames in what has been received."""
        self._buffer += data
        found = []
        while (one := self.buffered()) is not None:
            found.append(one)
        return found

    def quiet(self) -> bool:
        """Whether nothing has come and nothing is coming."""
        for _ in range(10):
            self._stage.pause(_PAUSE_S)
        with contextlib.suppress(BlockingIOError):
            self._buffer += self.sock.recv(65_536)
        return not self._buffer

    def answered(self, connection: Connection) -> None:
        """A pong has arrived there."""
        before = connection.last_rx
        self.send(frame(b"", PONG))
        self._stage.until(lambda: connection.last_rx > before, "the pong arrives")

    def _more(self) -> bool:
        data = self.packet()
        self._buffer += data
        return bool(data)


def text(number: int, size: int = 0) -> bytes:
    """A server's frame that tells its number."""
    from web.live import frames

    return frames.text({"n": number, "pad": "x" * size})


def stall(stage: Stage, connection: Connection) -> int:
    """Send to a peer that does not read, until the kernel takes no more; how many frames those were."""
    sent = 0
    while not connection.backlog:
        with stage.turn:
            connection.send(text(sent, SMALL))
        sent += 1
        stage.until(lambda: not connection.dirty, "the turn is over")
    return sent


@contextlib.contextmanager
def staged(made: Services, who: dict[Role, Principal], loop: str) -> Iterator[Stage]:
    """A hub on this loop (`gevent` or `threads`) for the block's time; its timer is left to the test."""
    from web.live.hub import Hub

    with _loop(loop) as (driver, turn, pause):
        stage = Stage(Hub(made, driver), turn, pause, who)
        try:
            yield stage
        finally:
            for peer in stage.peers:
                peer.close()
            with turn:
                for connection in list(stage.hub.connections):
                    stage.hub.drop(connection)
            stage.until(lambda: _is_idle(stage.hub), "what the hub has begun has ended")


def _is_idle(hub: Hub) -> bool:
    return not (hub.census._writing or hub._writing_stats or hub._confirming or hub._workers)


@contextlib.contextmanager
def _loop(name: str) -> Iterator[tuple[Driver, AbstractContextManager[object], Callable[[float], object]]]:
    if name == "threads":
        with thread_driver() as driver:
            yield driver, driver.turn, time.sleep
    else:
        import gevent

        from web.live.gevent_driver import GeventDriver

        yield GeventDriver(), contextlib.nullcontext(), gevent.sleep
