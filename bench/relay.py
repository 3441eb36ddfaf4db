"""How many events a second the relay numbers and publishes, and how long one takes to reach the live layer.

The peer is the insert alone: what PostgreSQL needs to write the same events without a relay.
"""

from __future__ import annotations

import json
import statistics
import threading
import time
from typing import Any

from bench.machine import Servers, servers
from tenure.events import order
from tenure.events.append import NewEvent, append
from tenure.events.relay import Relay
from tenure.kit.db import Database
from tenure.kit.valkey import connect

_BATCH = 100


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
        waits = _steady(where, db, 100 if quick else 1000)
        relay.stop()
        thread.join()
    print(f"\nrelay: {count} events on one broad and one object channel each")
    print(f"  insert alone     {count / insert_s:9,.0f} events/s")
    print(f"  number + publish {count / relay_s:9,.0f} events/s   ratio {insert_s / relay_s:.2f}")
    print(
        f"  commit to publish at 200/s: median {statistics.median(waits):.1f} ms, "
        f"p99 {statistics.quantiles(waits, n=100)[98]:.1f} ms"
    )


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


def _steady(where: Servers, db: Database, count: int) -> list[float]:
    listener: Any = connect(where.live_url).pubsub()  # type: ignore[no-untyped-call]
    listener.subscribe("tenure:live")
    while listener.get_message(timeout=0.2) is not None:
        pass
    committed: dict[str, float] = {}
    waits: list[float] = []

    def listen() -> None:
        while len(waits) < count:
            message = listener.get_message(ignore_subscribe_messages=True, timeout=5)
            if message is None:
                return
            heard = time.perf_counter()
            subject = json.loads(message["data"])["event"]["subject"]
            if subject.startswith("steady:"):
                waits.append((heard - committed.get(subject, heard)) * 1000)

    thread = threading.Thread(target=listen)
    thread.start()
    for number in range(count):
        subject = f"steady:{number}"
        with db.transaction() as session:
            append(session, [NewEvent("bench.steady", subject, ("alerts",))])
            committed[subject] = time.perf_counter()
        time.sleep(1 / 200)
    thread.join()
    listener.close()
    return waits
