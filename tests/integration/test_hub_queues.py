"""What waits for a socket: written in one go, kept whole, bounded three ways, and ended in order.

Real sockets on both of the hub's loops. A socketpair of SOCK_SEQPACKET shows each write as a packet; a small
buffer of the kernel makes writes short.
"""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any

import pytest

from tenure.events import order
from tenure.events.append import NewEvent, append
from tenure.kit.ids import new_id
from tests.support.hubs import SMALL, Peer, Stage, stall, text
from tests.support.rawsocket import CLOSE, TEXT, Frame, frame

if TYPE_CHECKING:
    from web.services import Services


def numbers(found: list[Frame]) -> list[int]:
    """The numbers of these frames; every one of them is whole."""
    return [one.json["n"] for one in found if one.opcode == TEXT]


# -- out --------------------------------------------------------------------------------------------------


def test_what_is_queued_in_one_turn_leaves_in_one_write(stage: Stage):
    connection, peer = stage.join(kind=socket.SOCK_SEQPACKET)
    for turn in range(3):
        with stage.turn:
            for number in range(20):
                connection.send(text(100 * turn + number))
        assert numbers(peer.taken(peer.packet())) == [100 * turn + number for number in range(20)]


def test_a_frame_is_encoded_once_for_all_listeners(stage: Stage):
    from web.live.channels import Channel

    joined = [stage.join(kind=socket.SOCK_SEQPACKET) for _ in range(5)]
    with stage.turn:
        channel = Channel("system", listeners={connection for connection, _ in joined})
        one = text(7)
        assert channel.deliver(1, "e", one) == 5
        assert all(connection.outbox == [one] and connection.outbox[0] is one for connection, _ in joined)
    assert [peer.packet() for _, peer in joined] == [one] * 5


def test_short_writes_leave_every_frame_whole_and_in_order(stage: Stage):
    connection, peer = stage.join(room=SMALL)
    with stage.turn:
        for number in range(50):
            connection.send(text(number, 97 * number))
    stage.until(lambda: connection.half_sent, "a write is cut in the middle of a frame")
    with stage.turn:
        for number in range(50, 100):
            connection.send(text(number))
    found: list[Frame] = []
    while len(found) < 100:
        found += peer.taken(peer.packet())
    assert numbers(found) == list(range(100))
    stage.until(lambda: not connection.backlog, "nothing waits any more")
    assert not connection.half_sent
    assert connection.backlog_bytes == connection.outbox_bytes == 0


@pytest.mark.parametrize("bound", ["bytes", "frames", "age"])
def test_a_reader_that_stands_still_is_cut_at_each_bound_with_4008(stage: Stage, bound: str):
    from web.live.connection import MOST_BYTES, MOST_FRAMES

    connection, peer = stage.join(room=SMALL)
    sent, most = stall(stage, connection), 0
    with stage.turn:
        connection.send(text(sent))
        sent += 1
        while bound != "age" and not connection.cut_off and sent < 10_000:
            connection.send(text(sent, SMALL if bound == "bytes" else 0))
            most = max(most, connection.backlog_bytes + connection.outbox_bytes)
            sent += 1
    if bound == "age":
        stage.tick()
        assert not connection.cut_off, "it has not waited long"
        stage.age(connection, 11)
        stage.tick()
    assert connection.cut_off
    assert most <= MOST_BYTES
    assert sent <= MOST_FRAMES + MOST_BYTES // SMALL
    assert stage.hub.stats.slow_closed == 1
    assert connection.outbox == [], "nothing is kept for it"
    with stage.turn:
        connection.send(text(-1))
    *before, last = peer.until_closed()
    assert (last.opcode, last.code, last.payload[2:]) == (CLOSE, 4008, b"slow")
    told = numbers(before)
    assert told == list(range(len(told))), "what was begun is whole, and nothing follows"
    assert len(told) < sent
    assert peer.is_ended()
    peer.close()
    stage.until(lambda: connection not in stage.hub.connections, "it is forgotten")


def test_the_others_get_everything_while_one_stands_still(stage: Stage):
    from web.live.channels import Channel

    stalled, silent = stage.join(room=SMALL)
    readers = [stage.join(room=SMALL) for _ in range(5)]
    channel = Channel("system", listeners={stalled, *(connection for connection, _ in readers)})
    found: dict[int, list[Frame]] = {at: [] for at in range(5)}
    for number in range(200):
        with stage.turn:
            channel.deliver(number + 1, "e", text(number, SMALL))
        for at, (_, peer) in enumerate(readers):
            while len(found[at]) <= number:
                found[at] += peer.taken(peer.packet())
    assert [numbers(each) for each in found.values()] == [list(range(200))] * 5
    assert stalled.cut_off
    assert stage.hub.stats.slow_closed == 1
    assert silent.until_closed()[-1].code == 4008


def test_one_that_does_not_even_read_its_end_is_let_go(stage: Stage):
    connection, peer = stage.join(room=SMALL)
    stall(stage, connection)
    with stage.turn:
        connection.cut()
    stage.tick()
    assert connection in stage.hub.connections, "it has ten seconds to read the frame in hand and the end"
    with stage.turn:
        connection.closing_since -= 11
    stage.tick()
    assert connection not in stage.hub.connections
    assert CLOSE not in [one.opcode for one in peer.until_closed()], "there was no room for it"


def test_of_what_is_true_only_now_a_slow_reader_gets_the_newest(stage: Stage):
    from web.live.channels import Channel

    connection, peer = stage.join(room=SMALL)
    quick, other = stage.join()
    channel = Channel("queues", listeners={connection, quick})
    sent = stall(stage, connection)
    for depth in range(300):
        with stage.turn:
            for queue in ("default", "watcher"):
                channel.show(f"queue:{queue}", text(1000 + depth, 2000))
        assert [other.arrives().json["n"] for _ in range(2)] == [1000 + depth] * 2, "others get each of them"
    with stage.turn:
        channel.deliver(1, "e", text(sent))
        assert connection.backlog_bytes + connection.outbox_bytes < 4 * SMALL
    told: list[int] = []
    while told[-2:] != [1299, 1299]:
        told += numbers(peer.taken(peer.packet()))
    assert told == [*range(sent + 1), 1299, 1299]
    with stage.turn:
        channel.show("queue:default", text(2000))
    assert peer.arrives().json["n"] == 2000, "and each of them again when it keeps up"
    assert not connection.cut_off


def long_history(made: Services) -> tuple[str, int]:
    """An object of whose past the kernel and the queue together hold only a part; its channel and length."""
    channel, count = f"subscription:{new_id('sub')}", 1000
    with made.db.transaction() as session:
        told = ({"n": number, "pad": "x" * 1000} for number in range(count))
        append(session, [NewEvent("test.long", channel, (channel,), data) for data in told])
    with made.db.transaction() as session:
        while order.number_pending(session):
            pass
    return channel, count


def come_back(peer: Peer, channel: str) -> None:
    since = {channel: {"offset": 0, "epoch": "pg"}}
    peer.send(frame(json.dumps({"type": "subscribe", "channels": [channel], "since": since, "rid": "s"})))


def test_a_long_history_comes_at_the_pace_of_its_reader(stage: Stage, web_services: Services):
    from web.live.connection import MOST_BYTES

    channel, count = long_history(web_services)
    connection, peer = stage.join(room=SMALL)
    come_back(peer, channel)
    found: list[dict[str, Any]] = []
    most = 0
    while not found or found[-1]["event"] != "recovered":
        found.append(peer.arrives().json)
        most = max(most, connection.waiting_bytes)
    assert [one["data"]["n"] for one in found if one["event"] == "event"] == list(range(count))
    assert found[-1]["complete"] is True
    assert 0 < most < MOST_BYTES / 2, "a portion waits, not all of it"
    assert stage.hub.stats.slow_closed == 0


def test_who_asks_for_a_long_history_and_does_not_read_it_is_cut(
    stage: Stage, web_services: Services, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("web.live.subscriptions.LONGEST_WAIT_S", 0.3)
    channel, count = long_history(web_services)
    connection, peer = stage.join(room=SMALL)
    come_back(peer, channel)
    stage.until(lambda: connection.cut_off, "it is cut")
    *before, last = peer.until_closed()
    assert (last.opcode, last.code) == (CLOSE, 4008)
    assert len(before) < count


# -- in ---------------------------------------------------------------------------------------------------


def test_a_full_inbox_stops_reading_and_loses_nothing(stage: Stage):
    from web.live.connection import INBOX

    connection, peer = stage.join()
    with stage.turn:
        connection.busy = True  # as if a command of this connection were at Postgres
    for number in range(INBOX):
        peer.send(frame(json.dumps({"type": "ping", "id": number})))
    stage.until(lambda: connection.paused, "it does not read any more")
    peer.send(frame(json.dumps({"type": "ping", "id": INBOX})))
    assert peer.quiet()
    assert len(connection.inbox) == INBOX, "what came since waits in the kernel"
    with stage.turn:
        stage.hub._ready.append(connection)
        stage.hub._workers += 1
        stage.hub.driver.spawn(stage.hub._work)
    assert [peer.arrives().json["id"] for _ in range(INBOX + 1)] == list(range(INBOX + 1))
    assert not connection.paused


# -- the end ----------------------------------------------------------------------------------------------


def test_a_drain_delivers_what_waits_before_the_goodbye(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("web.live.hub._DRAIN_S", 60.0)  # they read slowly here
    joined = [stage.join(room=SMALL) for _ in range(8)]
    with stage.turn:
        for connection, _ in joined:
            for number in range(30):
                connection.send(text(number, SMALL))
    stage.until(lambda: all(connection.backlog for connection, _ in joined), "all of them lag behind")
    stage.hub.driver.spawn(stage.hub.close_all_connections)
    for _, peer in joined:
        *before, goodbye, last = peer.until_closed()
        assert numbers(before) == list(range(30))
        assert goodbye.json["event"] == "goodbye"
        assert 0 <= goodbye.json["reconnect_in_ms"] < 5000
        assert (last.opcode, last.code) == (CLOSE, 1001)
        assert peer.is_ended()
        peer.close()
    stage.until(lambda: not stage.hub.connections, "all are gone")
    assert stage.hub.stats.slow_closed == 0


def test_a_drain_does_not_wait_for_who_does_not_read(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("web.live.hub._DRAIN_S", 1.0)
    stuck, _ = stage.join(room=SMALL)
    stall(stage, stuck)
    _, peer = stage.join()
    stage.hub.driver.spawn(stage.hub.close_all_connections)
    assert [one.code for one in peer.until_closed() if one.opcode == CLOSE] == [1001]
    stage.until(lambda: not stage.hub.connections, "the stuck one is dropped")
