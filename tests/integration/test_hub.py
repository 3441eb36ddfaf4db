"""The hub's own clockwork, in this process: heartbeats, deadlines, lateness, and ends that need odd states.

Connections are real sockets on a real loop: gevent's, and the threads'. Time is not waited for: what a
connection remembers of the past is moved back instead.
"""

from __future__ import annotations

import socket
import time

import pytest

from tests.support.hubs import Stage
from tests.support.rawsocket import CLOSE, PING, Frame


def code(one: Frame) -> int | None:
    assert one.opcode == CLOSE
    return one.code


def test_only_the_quiet_are_pinged_and_only_the_dead_are_closed(stage: Stage):
    (dead, dead_peer), (alive, alive_peer), (busy, busy_peer) = stage.join(), stage.join(), stage.join()
    stage.age(dead, 26)
    stage.age(alive, 26)
    stage.tick()
    for peer in (dead_peer, alive_peer):
        assert peer.arrives().opcode == PING
    assert busy_peer.quiet()
    alive_peer.answered(alive)
    for connection in (dead, alive, busy):
        stage.age(connection, 11)
    stage.tick()
    assert code(dead_peer.arrives()) == 4008
    assert alive_peer.quiet()
    assert stage.hub.stats.heartbeat_closed == 1


def test_after_a_late_tick_nobody_dies_and_the_dead_are_found_later(stage: Stage):
    everybody = [stage.join() for _ in range(20)]
    for connection, _ in everybody:
        stage.age(connection, 26)
    stage.tick()
    for connection, peer in everybody:
        assert peer.arrives().opcode == PING
        stage.age(connection, 60)  # the process stood still for a minute: nobody could have answered
    stage.tick(late_s=60)
    assert all(peer.quiet() for _, peer in everybody)
    stage.tick()
    assert all(peer.quiet() for _, peer in everybody)
    for connection, _ in everybody:
        stage.age(connection, 26)
    stage.tick()
    for connection, peer in everybody[1:]:
        assert peer.arrives().opcode == PING
        peer.answered(connection)
    for connection, _ in everybody:
        stage.age(connection, 11)
    stage.tick()
    assert stage.hub.stats.heartbeat_closed == 1


def test_a_wall_clock_that_jumps_ends_nothing(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    _, peer = stage.join()
    for moment in (0.0, 4e9):
        monkeypatch.setattr(time, "time", lambda moment=moment: moment)
        monkeypatch.setattr(time, "time_ns", lambda moment=moment: int(moment * 1e9))
        stage.tick()
        assert peer.quiet()


def test_who_does_not_sign_in_in_time_is_closed_with_4001(stage: Stage):
    stranger, peer = stage.join(None)
    stage.tick()
    assert peer.quiet()
    stage.age(stranger, 11)
    stage.tick()
    assert code(peer.arrives()) == 4001


def test_the_end_of_a_token_is_announced_once_and_then_enforced(stage: Stage):
    connection, peer = stage.join(expires_at=int(time.time()) + 50)
    stage.tick()
    assert peer.arrives().json["event"] == "auth_expiring"
    stage.tick()
    assert peer.quiet()
    connection.expires -= 50 + 5
    stage.tick()
    assert peer.quiet(), "its grace is not over"
    connection.expires -= 25
    stage.tick()
    assert code(peer.arrives()) == 4001


def test_a_listener_whose_history_is_not_read_in_time_begins_anew(stage: Stage):
    from web.live.channels import MOST_WAITING, Channel, Joining

    connection, peer = stage.join()
    with stage.turn:
        channel = stage.hub.channels["subscriptions"] = Channel("subscriptions", last=0, epoch="e")
        channel.joining[connection] = Joining()
        connection.channels.add("subscriptions")
        for offset in range(1, MOST_WAITING + 10):
            channel.deliver(offset, "e", b"\x81\x00")
    assert code(peer.arrives()) == 4010


def test_a_goodbye_to_all_names_the_moment_of_their_return(stage: Stage):
    everybody = [stage.join()[1] for _ in range(30)]
    stage.hub.driver.spawn(stage.hub.close_all_connections)
    for peer in everybody:
        goodbye, last = peer.arrives(), peer.arrives()
        assert goodbye.json["event"] == "goodbye"
        assert code(last) == 1001
        peer.close()
    stage.until(lambda: not stage.hub.connections, "all are gone")


def test_a_socket_that_is_taken_over_has_a_bounded_buffer_and_the_server_keeps_a_dead_one():
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
