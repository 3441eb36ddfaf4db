"""How many events a second the relay numbers and publishes, and how long one takes to reach the live layer.

The peer of the rate is the insert alone: what PostgreSQL needs to write the same events without a relay. The
floor of the latency is one NOTIFY from the same commits to a bare listener.
"""

from __future__ import annotations

import json
import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg

from bench.machine import Servers, load_now, servers
from tenure.events import order
from tenure.events.append import NewEvent, append
from tenure.events.relay import Relay
from tenure.kit.db import Database
from tenure.kit.valkey import connect

_BATCH = 100
_STEADY_PER_S = 200


def main(*, quick: bool) -> None:
    """Print rate and latency."""
    count = 2_000 if quick else 50_000
    with servers() as where:
        db = Database(where.database_url, pool_size=4, application="bench")
        began = time.perf_counter()
        _write(db, count)
        insert_s = time.perf_counter() - began
        relay = Relay(db, connect(where.live_url), sample=lambda _: None)
        began = time.perf_counter()
        thread = threading.Thread(target=relay.run)
        thread.start()
        while _numbered(db) < count:
            time.sleep(0.02)
        relay_s = time.perf_counter() - began
        waits, floor = _steady(where, db, 100 if quick else 2000)
        relay.stop()
        thread.join()
    print(f"\nrelay: {count} events on one broad and one object channel each; {load_now()}")
    print(f"  insert alone     {count / insert_s:9,.0f} events/s")
    print(f"  number + publish {count / relay_s:9,.0f} events/s   ratio {insert_s / relay_s:.2f}")
    print(f"  at 200 events/s, {len(waits)} commits:")
    _print("NOTIFY to a listener (floor)", floor)
    _print("commit to publish", waits)
    print(f"  ratio {_p99(waits) / _p99(floor):.1f} at the p99")


def _print(name: str, waits: list[float]) -> None:
    points = statistics.quantiles(waits, n=100)
    print(f"    {name:<30} median {points[49]:6.1f} ms  p95 {points[94]:6.1f} ms  p99 {points[98]:6.1f} ms")


def _p99(waits: list[float]) -> float:
    return statistics.quantiles(waits, n=100)[98]


def _write(db: Database, count: int) -> None:
    for start in range(0, count, _BATCH):
        with db.transaction() as session:
            append(
                session,
                [
                    NewEvent("bench.event", f"slot:{n}", ("iterations", f"slot:{n % 500}"))
                    for n in range(start, start + _BATCH)
                ],
            )


def _numbered(db: Database) -> int:
    with db.transaction() as session:
        return order.last_seq(session)


def _steady(where: Servers, db: Database, count: int) -> tuple[list[float], list[float]]:
    """Milliseconds from the commit until the event is heard on the live layer, and until a NOTIFY is."""
    listener: Any = connect(where.live_url).pubsub()  # type: ignore[no-untyped-call]
    listener.subscribe("tenure:live")
    while listener.get_message(timeout=0.2) is not None:
        pass
    with (
        psycopg.connect(where.database_url, autocommit=True) as bell,
        ThreadPoolExecutor(max_workers=2) as ears,
    ):
        bell.execute("LISTEN tenure_events")
        live, rung = ears.submit(_hear, listener, count), ears.submit(_hear_bell, bell, count)
        committed, began = [], time.perf_counter()
        for number in range(count):
            time.sleep(max(0.0, began + number / _STEADY_PER_S - time.perf_counter()))
            with db.transaction() as session:
                append(session, [NewEvent("bench.steady", f"steady:{number}", ("alerts",))])
            committed.append(time.perf_counter())
        heard, bells = live.result(), rung.result()
    listener.close()
    assert len(heard) == len(bells) == count, "not every event was heard"
    waits = [max(0.0, heard[f"steady:{number}"] - at) * 1000 for number, at in enumerate(committed)]
    return waits, [max(0.0, rang - at) * 1000 for rang, at in zip(bells, committed, strict=True)]


def _hear(listener: Any, count: int) -> dict[str, float]:
    heard: dict[str, float] = {}
    while len(heard) < count:
        message = listener.get_message(ignore_subscribe_messages=True, timeout=5)
        if message is None:
            break
        now = time.perf_counter()
        subject = json.loads(message["data"])["event"]["subject"]
        if subject.startswith("steady:"):
            heard[subject] = now
    return heard


def _hear_bell(bell: psycopg.Connection[Any], count: int) -> list[float]:
    # One commit rings once, and the bells come in the order of the commits.
    rung = []
    for _ in bell.notifies(timeout=60, stop_after=count):
        rung.append(time.perf_counter())
        if len(rung) == count:
            break
    return rung
