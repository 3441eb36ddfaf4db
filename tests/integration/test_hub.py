"""The hub's own clockwork, in this process: heartbeats, deadlines, lateness, and ends that need odd states.

Connections are real sockets on gevent's real loop. Time is not waited for: what a connection remembers of
the past is moved back instead.
"""

from __future__ import annotations

import _socket
import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gevent
import pytest

from tenure.accounts.principal import Principal, Role
from tenure.settings import load
from tests.support import services as services_support
from tests.support.rawsocket import CLOSE, PING, PONG, Frame, RawSocket, frame

if TYPE_CHECKING:
    from web.live.connection import Connection
    from web.live.hub import Hub


@pytest.fixture
def hub(
    database_url: str, broker_url: str, live_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Hub]:
    given = {
        "TENURE_DATABASE_URL": database_url,
        "TENURE_BROKER_URL": broker_url,
        "TENURE_LIVE_URL": live_url,
        "TENURE_DATA_DIR": str(tmp_path),
        "TENURE_SECRET_KEY": "a key for tests that is long enough",
        "TENURE_LIMITS": '{"ws_open_per_address": 0}',
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)  # the tasks' package reads its settings when it is imported
    from web import application
    from web.live.hub import Hub

    made = application._services(load(services_support.environment(**given)))
    hub = Hub(made)
    hub._ticked = time.monotonic()
    yield hub
    for connection in list(hub.connections):
        hub.drop(connection)
    gevent.sleep(0.1)  # what the hub has begun ends
    made.db.close()
    made.door.close()
    made.live.close()
    made.broker.close()


class Peer(RawSocket):
    """The other end, whose reading lets the hub's loop turn."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.sock.setblocking(False)
        self._buffer = b""

    def _more(self) -> bool:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            gevent.sleep(0.005)
            try:
                data = self.sock.recv(65_536)
            except BlockingIOError:
                continue
            self._buffer += data
            return bool(data)
        raise AssertionError("nothing came")

    def quiet(self) -> bool:
        """Whether nothing has come and nothing is coming."""
        gevent.sleep(0.05)
        with contextlib.suppress(BlockingIOError):
            self._buffer += self.sock.recv(65_536)
        return not self._buffer

    def answered(self, connection: Connection) -> None:
        """A pong has arrived there."""
        self.send(frame(b"", PONG))
        before = connection.last_rx
        while connection.last_rx <= before:
            gevent.sleep(0.005)


@pytest.fixture
def join(hub: Hub):
    """A new connection of this hub, who it is, and its other end after `hello`."""
    peers: list[Peer] = []

    def join(role: Role | None = Role.VIEWER, *, expires_at: int | None = None) -> tuple[Connection, Peer]:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        who = (
            None
            if role is None
            else Principal("user", f"usr_{len(peers)}", role, "a@b.example", None, expires_at)
        )
        known = set(hub.connections)
        hub.adopt(_socket.socket(fileno=ours.detach()), address="127.0.0.1", principal=who, refused=None)
        (connection,) = hub.connections - known
        peer = Peer(theirs)
        peers.append(peer)
        for _ in range(1 if role is None else 2):
            peer.frame()
        return connection, peer

    yield join
    for peer in peers:
        peer.close()


def age(connection: Connection, seconds: float) -> None:
    """Everything that this connection remembers happened so much earlier."""
    connection.last_rx -= seconds
    connection.auth_deadline -= seconds
    connection.pinged -= seconds if connection.pinged else 0
    connection.expires -= seconds if connection.expires else 0
    connection.backlog_since -= seconds


def code(one: Frame | None) -> int | None:
    assert one is not None
    assert one.opcode == CLOSE
    return one.code


def test_only_the_quiet_are_pinged_and_only_the_dead_are_closed(hub: Hub, join):
    (dead, dead_peer), (alive, alive_peer), (busy, busy_peer) = join(), join(), join()
    age(dead, 26)
    age(alive, 26)
    hub._tick()
    for peer in (dead_peer, alive_peer):
        ping = peer.frame()
        assert ping is not None
        assert ping.opcode == PING
    assert busy_peer.quiet()
    alive_peer.answered(alive)
    for connection in (dead, alive, busy):
        age(connection, 11)
        hub._ticked = time.monotonic()
    hub._tick()
    assert code(dead_peer.frame()) == 4008
    assert alive_peer.quiet()
    assert hub.stats.heartbeat_closed == 1


def test_after_a_late_tick_nobody_dies_and_the_dead_are_found_later(hub: Hub, join):
    everybody = [join() for _ in range(20)]
    for connection, _ in everybody:
        age(connection, 26)
    hub._tick()
    for connection, peer in everybody:
        assert peer.frame().opcode == PING
        age(connection, 60)  # the process stood still for a minute: nobody could have answered
    hub._ticked -= 60
    hub._tick()
    assert all(peer.quiet() for _, peer in everybody)
    hub._tick()
    assert all(peer.quiet() for _, peer in everybody)
    for connection, _ in everybody:
        age(connection, 26)
    hub._tick()
    for connection, peer in everybody[1:]:
        assert peer.frame().opcode == PING
        peer.answered(connection)
    for connection, _ in everybody:
        age(connection, 11)
    hub._tick()
    assert hub.stats.heartbeat_closed == 1


def test_a_wall_clock_that_jumps_ends_nothing(hub: Hub, join, monkeypatch: pytest.MonkeyPatch):
    _, peer = join()
    for moment in (0.0, 4e9):
        monkeypatch.setattr(time, "time", lambda moment=moment: moment)
        monkeypatch.setattr(time, "time_ns", lambda moment=moment: int(moment * 1e9))
        hub._tick()
        assert peer.quiet()


def test_who_does_not_sign_in_in_time_is_closed_with_4001(hub: Hub, join):
    _stranger, peer = join(None)
    hub._tick()
    assert peer.quiet()
    age(_stranger, 11)
    hub._tick()
    assert code(peer.frame()) == 4001


def test_the_end_of_a_token_is_announced_once_and_then_enforced(hub: Hub, join):
    connection, peer = join(expires_at=int(time.time()) + 50)
    hub._tick()
    assert peer.frame().json["event"] == "auth_expiring"
    hub._tick()
    assert peer.quiet()
    connection.expires -= 50 + 20
    hub._tick()
    assert peer.quiet(), "its grace is not over"
    connection.expires -= 10
    hub._tick()
    assert code(peer.frame()) == 4001


def test_what_waits_too_long_is_cut_with_4008(hub: Hub, join):
    connection, peer = join()
    connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    while not connection.backlog:
        connection.send(b"\x81\x7e\x10\x00" + b"x" * 4096)
        gevent.sleep(0)
    age(connection, 11)
    hub._ticked = time.monotonic()
    hub._tick()
    assert hub.stats.slow_closed == 1
    frames = peer.until_closed()
    assert code(frames[-1]) == 4008
    assert all(len(one.payload) == 4096 for one in frames[:-1]), "what was begun is whole"


def test_a_listener_whose_history_is_not_read_in_time_begins_anew(hub: Hub, join):
    from web.live.channels import MOST_WAITING, Channel, Joining

    connection, peer = join()
    channel = hub.channels["subscriptions"] = Channel("subscriptions", last=0, epoch="e")
    channel.joining[connection] = Joining()
    connection.channels.add("subscriptions")
    for offset in range(1, MOST_WAITING + 10):
        channel.deliver(offset, "e", b"\x81\x00")
    assert code(peer.frame()) == 4010


def test_a_goodbye_to_all_names_the_moment_of_their_return(hub: Hub, join):
    everybody: list[Any] = [join()[1] for _ in range(30)]
    closing = gevent.spawn(hub.close_all_connections)
    for peer in everybody:
        goodbye, last = peer.frame(), peer.frame()
        assert goodbye.json["event"] == "goodbye"
        assert code(last) == 1001
        peer.close()
    closing.join(10)
    assert not hub.connections


def test_a_socket_that_is_taken_over_has_a_bounded_buffer_and_the_server_keeps_a_dead_one(hub: Hub):
    from web.live.endpoint import _taken_over

    listener = socket.create_server(("127.0.0.1", 0))
    theirs = socket.create_connection(listener.getsockname())
    served, _ = listener.accept()
    own = _taken_over(served)
    try:
        # The kernel doubles what is asked for.
        assert own.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) in (131_072, 262_144)
        assert own.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
        assert served.recv(1) == b"", "the server's is at its end"
        served.close()
        own.send(b"still here")
        assert theirs.recv(100) == b"still here"
    finally:
        for one in (own, theirs, listener):
            one.close()
