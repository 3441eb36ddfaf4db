"""The reader of a hub in this process: rings that are lost, a connection that is cut, samples for the slow.

On threads: gevent's loop would need the patched standard library to turn while the reader listens.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
import redis
from sqlalchemy import text

from tenure.events import order
from tenure.events.append import NewEvent, append
from tenure.events.publish import Publisher
from tenure.kit.valkey import connect
from tests.support.hubs import Peer, Stage, stall
from tests.support.rawsocket import frame
from tests.support.waiting import until

if TYPE_CHECKING:
    from web.live.connection import Connection
    from web.services import Services

pytestmark = pytest.mark.parametrize("stage", ["threads"], indirect=True)
BROAD, OBJECT = "subscriptions", "subscription:sub_reader"


@pytest.fixture
def publisher(web_services: Services) -> Iterator[Publisher]:
    with connect(web_services.settings.require_live_url()) as live:
        yield Publisher(live, epoch="reader")


@pytest.fixture
def write(web_services: Services) -> Callable[..., list[order.PlacedEvent]]:
    """Write one event for each number; they are numbered as the relay does it, and not yet told."""

    def write(*numbers: int) -> list[order.PlacedEvent]:
        told = [NewEvent("test.counted", OBJECT, (BROAD, OBJECT), {"n": number}) for number in numbers]
        with web_services.db.transaction() as session:
            append(session, told)
            before = session.execute(text("SELECT coalesce(max(seq), 0) FROM event_seq")).scalar_one()
        with web_services.db.transaction() as session:
            order.number_pending(session)
        with web_services.db.transaction() as session:
            return order.after(session, before, limit=1000)

    return write


@pytest.fixture
def follow(stage: Stage) -> Iterator[Callable[..., tuple[Connection, Peer]]]:
    """The reader runs; a connection that follows these channels, and its other end."""
    from web.live.reader import Reader

    reader = Reader(stage.hub)
    stage.hub.driver.spawn(reader.run)

    def follow(*channels: str, room: int | None = None) -> tuple[Connection, Peer]:
        connection, peer = stage.join(room=room)
        peer.send(frame(json.dumps({"type": "subscribe", "channels": channels, "rid": "s"})))
        assert peer.arrives().json["event"] == "ack"
        return connection, peer

    yield follow
    reader.stop()


def counted(peer: Peer, last: int) -> dict[str, list[int]]:
    """The numbers that arrive on each channel, until all channels have had the last one."""
    found: dict[str, list[int]] = {}
    while not found or any(numbers[-1] != last for numbers in found.values()):
        one: dict[str, Any] = peer.arrives().json
        if one["event"] != "event":
            raise AssertionError(one)
        found.setdefault(one["channel"], []).append(one["data"]["n"])
    return found


def listeners(live: redis.Redis) -> list[str]:
    """The addresses that listen to Valkey's rings."""
    return [one["addr"] for one in live.client_list(_type="pubsub")]


def test_what_is_told_while_the_reader_is_cut_off_arrives_once_and_in_order(
    stage: Stage, web_services: Services, follow, publisher: Publisher, write
):
    _, peer = follow(BROAD)
    _, other = follow(OBJECT)
    (address,) = stage.until(lambda: listeners(web_services.live), "the reader listens")
    publisher.publish(write(0))
    assert counted(peer, 0) == {BROAD: [0]}
    assert counted(other, 0) == {OBJECT: [0]}
    with stage.turn:  # what is told now comes before the reader has come back
        web_services.live.client_kill(address)
        until(lambda: address not in listeners(web_services.live), what="its connection is gone")
        publisher.publish(write(*range(1, 60)))
    assert counted(peer, 59) == {BROAD: list(range(1, 60))}
    assert counted(other, 59) == {OBJECT: list(range(1, 60))}
    publisher.publish(write(60))
    assert counted(peer, 60) == {BROAD: [60]}
    assert counted(other, 60) == {OBJECT: [60]}
    assert stage.hub.stats.gaps == 0


def test_a_memory_that_began_anew_tells_again_under_a_new_epoch_and_seq_tells_them_apart(
    stage: Stage, web_services: Services, follow, publisher: Publisher, write
):
    _, peer = follow(BROAD)
    stage.until(lambda: listeners(web_services.live), "the reader listens")
    placed = write(*range(5))
    publisher.publish(placed)
    first = [peer.arrives().json for _ in range(5)]
    web_services.live.flushdb()
    placed += write(5)
    Publisher(web_services.live, epoch="anew").publish(placed)  # as the relay fills an empty memory
    gap, *again = [peer.arrives().json for _ in range(7)]
    assert (gap["event"], gap["channel"]) == ("gap", BROAD)
    assert [one["offset"] for one in again] == [1, 2, 3, 4, 5, 6]
    assert {one["epoch"] for one in first}.isdisjoint(one["epoch"] for one in again)
    assert [one["seq"] for one in again] == [one["seq"] for one in first] + [placed[-1].seq]
    assert [one["id"] for one in again] == [one.id for one in placed]


def test_a_slow_reader_gets_the_newest_sample_of_each_queue(stage: Stage, follow, publisher: Publisher):
    connection, slow = follow("queues", room=4096)
    _, quick = follow("queues")
    filling = stall(stage, connection)
    for depth in range(50):
        for queue in ("default", "watcher"):
            event = {"id": "evt", "seq": None, "type": "queue.sample", "ts": "", "subject": f"queue:{queue}"}
            publisher.ring("queues", {**event, "data": {"queue": queue, "n": depth}})
    assert [quick.arrives().json["data"]["n"] for _ in range(100)] == [n // 2 for n in range(100)]
    assert [slow.arrives().json["n"] for _ in range(filling)] == list(range(filling))
    samples = [slow.arrives().json["data"] for _ in range(2)]
    assert samples == [{"queue": queue, "n": 49} for queue in ("default", "watcher")]
    assert slow.quiet()
    assert not connection.cut_off
