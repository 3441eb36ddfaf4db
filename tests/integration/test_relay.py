"""The relay: commit order without holes, each event published once per channel, and a memory that returns."""

from __future__ import annotations

import json
import select
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis
from sqlalchemy import text

from tenure.events import order
from tenure.events.append import NewEvent, append
from tenure.events.publish import Forgotten, Publisher
from tenure.events.queries import channel_history, events
from tenure.events.relay import Relay
from tenure.kit.db import Database
from tenure.kit.valkey import connect
from tests.support.waiting import until


@pytest.fixture
def live(live_url: str) -> Iterator[redis.Redis]:
    client = connect(live_url)
    yield client
    client.close()


@pytest.fixture
def relay(db: Database, live: redis.Redis) -> Iterator[Relay]:
    relay = Relay(db, live, sample=lambda _: None)
    thread = threading.Thread(target=relay.run)
    thread.start()
    yield relay
    relay.stop()
    thread.join(30)
    assert not thread.is_alive()


def write(db: Database, *names: str, slot: str = "s") -> None:
    with db.transaction() as session:
        append(
            session,
            [
                NewEvent(f"test.{name}", "slot:x", ("iterations", f"slot:{slot}"), {"n": name})
                for name in names
            ],
        )


def numbered(db: Database) -> list[order.PlacedEvent]:
    with db.transaction() as session:
        return order.after(session, 0, limit=10_000)


def stream(live: redis.Redis, channel: str = "iterations") -> list[tuple[str, dict]]:
    entries: Any = live.xrange(f"tenure:live:stream:{channel}")
    return [(key, json.loads(body["e"])) for key, body in entries]


def test_events_of_writers_that_commit_late_are_not_missed(db: Database, relay: Relay) -> None:
    early, late = threading.Event(), threading.Event()

    def slow() -> None:
        with db.transaction() as session:
            append(session, [NewEvent("test.slow", "slot:x", ("iterations",))])
            early.set()
            while not late.wait(1):
                session.execute(text("SELECT 1"))  # the server ends who is idle in a transaction for 10 s

    thread = threading.Thread(target=slow)
    thread.start()
    try:
        assert early.wait(20)
        for number in range(50):
            write(db, str(number))
        until(lambda: len(numbered(db)) == 50, within_s=20, what="the fast ones are numbered")
    finally:
        late.set()
        thread.join()
    until(lambda: len(numbered(db)) == 51, within_s=20, what="the late one is numbered")
    assert [event.seq for event in numbered(db)] == list(range(1, 52))
    assert numbered(db)[-1].type == "test.slow"


def test_events_of_one_transaction_keep_their_order(db: Database, relay: Relay) -> None:
    write(db, "a", "b", "c")
    until(lambda: len(numbered(db)) == 3, within_s=20, what="numbered")
    assert [event.type for event in numbered(db)] == ["test.a", "test.b", "test.c"]


def test_objects_have_contiguous_offsets_of_their_own(db: Database, relay: Relay) -> None:
    write(db, "a", slot="one")
    write(db, "b", slot="two")
    write(db, "c", "d", slot="one")
    until(lambda: len(numbered(db)) == 4, within_s=20, what="numbered")
    with db.transaction() as session:
        one = channel_history(session, "slot:one")
        rest = channel_history(session, "slot:one", offset=2)
    assert [(event["offset"], event["type"]) for event in one] == [
        (1, "test.a"),
        (2, "test.c"),
        (3, "test.d"),
    ]
    assert [event["offset"] for event in rest] == [3]


def test_a_stream_holds_each_event_once_at_its_offset(db: Database, live: redis.Redis, relay: Relay) -> None:
    write(db, "a", "b")
    until(lambda: len(stream(live)) == 2, within_s=20, what="published")
    with db.transaction() as session:
        placed = order.after(session, 0)
    Publisher(live, epoch="x").publish(
        placed, after=0
    )  # what a relay does that died before it noted its progress
    assert [key for key, _ in stream(live)] == ["1-0", "2-0"]
    assert [event["type"] for _, event in stream(live)] == ["test.a", "test.b"]


def test_only_the_last_hundred_stay_in_a_stream(db: Database, live: redis.Redis, relay: Relay) -> None:
    for start in range(0, 130, 10):
        write(db, *(str(n) for n in range(start, start + 10)))
    until(lambda: live.hget("tenure:live:meta:iterations", "off") == "130", within_s=20, what="published")
    assert [key for key, _ in stream(live)] == [f"{n}-0" for n in range(31, 131)]


def test_an_emptied_valkey_gets_its_history_back_under_a_new_epoch(
    db: Database, live: redis.Redis, relay: Relay
) -> None:
    write(db, "a", "b")
    until(lambda: len(stream(live)) == 2, within_s=20, what="published")
    forget(live)
    relay.stop()
    second = Relay(db, live, sample=lambda _: None)
    thread = threading.Thread(target=second.run)
    thread.start()
    write(db, "c")
    until(
        lambda: len(stream(live)) == 3, within_s=60, what="published again, at the end of the first's lease"
    )
    second.stop()
    thread.join(10)


def forget(live: redis.Redis) -> None:
    """Valkey loses its memory; it was empty in that very step, before a relay that runs fills it again."""
    with live.pipeline(transaction=True) as pipe:
        pipe.flushdb()
        pipe.exists("tenure:live:stream:iterations")
        assert pipe.execute() == [True, 0]


def epoch_of(live: redis.Redis, channel: str = "iterations") -> str | None:
    found: Any = live.hget(f"tenure:live:meta:{channel}", "epoch")
    return found


def test_a_valkey_that_is_emptied_under_a_running_relay_begins_a_new_life_with_its_history(
    db: Database, live: redis.Redis, relay: Relay
) -> None:
    # Its connection never broke: only the missing mark tells it. Offsets start again at 1, and without a new
    # epoch a reader would take new events for ones that it has.
    write(db, "a", "b", "c")
    until(lambda: len(stream(live)) == 3, within_s=20, what="published")
    before = epoch_of(live)
    forget(live)
    write(db, "d")
    until(lambda: len(stream(live)) == 4, within_s=20, what="everything is published again")
    assert [event["type"] for _, event in stream(live)] == ["test.a", "test.b", "test.c", "test.d"]
    assert [key for key, _ in stream(live)] == ["1-0", "2-0", "3-0", "4-0"]
    assert before
    assert epoch_of(live) not in {None, before}


def test_an_emptied_valkey_gets_its_history_back_also_when_nothing_new_happens(
    db: Database, live: redis.Redis, relay: Relay
) -> None:
    write(db, "a", "b")
    until(lambda: len(stream(live)) == 2, within_s=20, what="published")
    forget(live)
    until(lambda: len(stream(live)) == 2, within_s=20, what="published again, without a new event")


def test_nothing_is_published_to_a_valkey_that_forgot_in_the_middle(db: Database, live: redis.Redis) -> None:
    """The flush falls between the relay's look at the mark and its publishing."""
    write(db, "a", "b", "c", "d")
    with db.transaction() as session:
        order.lead(session, holder="test", lease_s=60)
        order.number_pending(session)
        placed = order.after(session, 0)
    publisher = Publisher(live, epoch="first")
    publisher.publish(placed[:2])
    live.flushdb()
    with pytest.raises(Forgotten):
        publisher.publish(placed[2:], after=2)
    assert stream(live) == []
    assert publisher.published_upto() is None


def test_a_valkey_that_went_back_in_time_begins_a_new_life(
    db: Database, live: redis.Redis, relay: Relay
) -> None:
    """As one that lost the last second of its file: what it forgot is told again, under a new epoch."""
    write(db, "a", "b", "c")
    until(lambda: len(stream(live)) == 3, within_s=20, what="published")
    before = epoch_of(live)
    with live.pipeline(transaction=True) as pipe:
        pipe.set("tenure:live:published", 2)
        pipe.hset("tenure:live:meta:iterations", mapping={"off": 2, "last_seq": 2})
        pipe.xdel("tenure:live:stream:iterations", "3-0")
        pipe.execute()
    write(db, "d")
    until(lambda: len(stream(live)) == 4, within_s=20, what="published again")
    assert [key for key, _ in stream(live)] == ["1-0", "2-0", "3-0", "4-0"]
    assert epoch_of(live) != before


def test_a_database_that_went_back_begins_a_new_life_of_the_channels(
    db: Database, live: redis.Redis, relay: Relay
) -> None:
    write(db, "a", "b", "c")
    until(lambda: len(stream(live)) == 3, within_s=20, what="published")
    relay.stop()
    epoch = live.hget("tenure:live:meta:iterations", "epoch")
    with db.transaction() as session:  # as a restored backup leaves it
        session.execute(text("DELETE FROM event_seq WHERE seq > 1"))
    assert live.get("tenure:live:published") == "3"
    second = Relay(db, live, sample=lambda _: None)
    thread = threading.Thread(target=second.run)
    thread.start()
    write(db, "d")
    until(lambda: len(stream(live)) == 2, within_s=60, what="published anew, at the end of the first's lease")
    second.stop()
    thread.join(10)
    assert [event["type"] for _, event in stream(live)] == ["test.a", "test.d"]
    assert live.hget("tenure:live:meta:iterations", "epoch") != epoch


def test_many_events_of_one_iteration_become_one_bulk_change_on_broad_channels_only(
    db: Database, live: redis.Redis, relay: Relay
) -> None:
    with db.transaction() as session:
        append(
            session,
            [
                NewEvent(
                    "subscription.expired", f"slot:{n}", ("subscriptions", f"slot:{n}"), {}, None, "itr_1"
                )
                for n in range(200)
            ],
        )
    until(lambda: stream(live, "subscriptions"), within_s=20, what="published")
    ((_, event),) = stream(live, "subscriptions")
    assert event["type"] == "subscription.bulk_changed"
    assert event["data"] == {"iteration_id": "itr_1", "type": "subscription.expired", "count": 200}
    with db.transaction() as session:
        assert len(channel_history(session, "slot:199")) == 1


def test_two_relays_never_number_the_same_event(db: Database, live: redis.Redis, relay: Relay) -> None:
    second = Relay(db, live, sample=lambda _: None)
    thread = threading.Thread(target=second.run)
    thread.start()
    for n in range(100):
        write(db, str(n))
    until(lambda: len(numbered(db)) == 100, within_s=20, what="numbered")
    second.stop()
    thread.join(10)
    assert [event.seq for event in numbered(db)] == list(range(1, 101))


def test_the_api_reads_events_in_order_and_in_pages(db: Database, relay: Relay) -> None:
    write(db, *"abcde")
    until(lambda: len(numbered(db)) == 5, within_s=20, what="numbered")
    with db.transaction() as session:
        first = events(session, after=0, limit=3)
        second = events(session, after=int(first["next_cursor"]), limit=3)
    assert [item["seq"] for item in first["items"] + second["items"]] == [1, 2, 3, 4, 5]
    assert second["next_cursor"] is None


def test_an_event_that_is_rolled_back_leaves_no_hole(db: Database, relay: Relay) -> None:
    class Oops(Exception):
        pass

    def fail() -> None:
        with db.transaction() as session:
            append(session, [NewEvent("test.never", "slot:x", ("iterations",))])
            raise Oops

    with pytest.raises(Oops):
        fail()
    write(db, "after")
    until(lambda: numbered(db), within_s=20, what="numbered")
    assert [(event.seq, event.type) for event in numbered(db)] == [(1, "test.after")]
    with db.transaction() as session:
        assert session.execute(text("SELECT count(*) FROM event_pending")).scalar_one() == 0


class Tunnel(threading.Thread):
    """Carries one connection after the other to a server; a connection ends after so many bytes are sent."""

    def __init__(self, upstream: tuple[str, int]) -> None:
        super().__init__(daemon=True)
        self._upstream = upstream
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.ends_after: int | None = None
        self.sent = 0
        self.cuts = 0

    def run(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with client, socket.create_connection(self._upstream) as server:
                self._carry(client, server)

    def _carry(self, client: socket.socket, server: socket.socket) -> None:
        while True:
            for one in select.select([client, server], [], [])[0]:
                data = one.recv(65_536)
                if not data:
                    return
                if one is server:
                    client.sendall(data)
                    continue
                left = len(data) if self.ends_after is None else self.ends_after - self.sent
                server.sendall(data[:left])
                self.sent += len(data[:left])
                if left < len(data):
                    self.cuts += 1
                    return

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def tunnel(live_url: str) -> Iterator[Tunnel]:
    parts = urlsplit(live_url)
    assert parts.hostname
    assert parts.port
    running = Tunnel((parts.hostname, parts.port))
    running.start()
    yield running
    running.close()


def said(heard: Any) -> dict[str, Any]:
    """The next message of a subscription."""
    message: dict[str, Any] = json.loads(until(lambda: heard.get_message(True, timeout=1))["data"])
    return message


@pytest.fixture
def placed(db: Database) -> list[order.PlacedEvent]:
    """Sixty events of one iteration among others, each on the broad channel and on one of its own."""
    with db.transaction() as session:
        append(
            session,
            [
                NewEvent(f"test.{kind}", f"slot:{n}", ("iterations", f"slot:{n}"), {}, None, run)
                for n in range(80)
                for kind, run in [("single", None) if n % 4 == 3 else ("many", "itr_1")]
            ],
        )
    with db.transaction() as session:
        order.lead(session, holder="rly_1", lease_s=10)
        assert order.number_pending(session) == 80
    return numbered(db)


def test_a_relay_that_is_cut_off_in_the_midst_of_many_has_told_of_every_one_after_it_came_back(
    live: redis.Redis, live_url: str, tunnel: Tunnel, placed: list[order.PlacedEvent]
) -> None:
    through = live_url.replace(f":{urlsplit(live_url).port}/", f":{tunnel.port}/")
    for _ in range(2):  # the first also loads the script
        tunnel.sent = 0
        with closing(connect(through)) as once:
            Publisher(once, epoch="a").publish(placed)
    whole, halves = tunnel.sent, 0
    for at in range(600, whole, whole // 20):
        live.flushall()
        tunnel.sent, tunnel.ends_after = 0, at
        heard: Any = live.pubsub()  # type: ignore[no-untyped-call]
        with closing(heard), closing(connect(through)) as cut:
            heard.subscribe("tenure:live")
            with pytest.raises(redis.ConnectionError):
                Publisher(cut, epoch="a").publish(placed)
            tunnel.ends_after = None
            # The next one knows only what Valkey does.
            after = Publisher(live, epoch="a").published_upto() or 0
            halves += 0 < after < placed[-1].seq
            Publisher(live, epoch="a").publish(
                [one for one in placed if one.seq > after], after=after or None
            )
            live.publish("tenure:live", "{}")  # the end
            told = list(iter(partial(said, heard), {}))
        broad = [event for _, event in stream(live)]
        single = {event["id"] for event in broad}
        bulk_from = min((e["seq"] for e in broad if e["type"] == "test.bulk_changed"), default=10**9)
        for one in placed:
            in_bulk = one.type == "test.many" and one.seq >= bulk_from
            assert one.id in single or in_bulk, f"cut after {at} of {whole} bytes: {one.seq} was never told"
        assert len(single) == len(broad), "nothing came twice"
        objects = [(name, place) for message in told for name, place, _ in message["at"] if "slot:" in name]
        assert sorted(set(objects)) == sorted((f"slot:{n}", 1) for n in range(80)), at
    assert tunnel.cuts > 15
    assert halves > 10, "most cuts fell between two events"
