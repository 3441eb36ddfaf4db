"""How late runs start: twenty due times a second through beat, broker and worker, from due to START.

The peer is bare Celery on the same worker at the same rate in the same run: from the moment a message should
be sent to the moment its task begins, without slots, schedules or a ledger.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Final

import psycopg
from kombu.connection import Connection
from kombu.pools import producers

from bench.machine import Servers, load_now, servers
from bench.serving import running
from tenure.iterations.queues import KEY_PREFIX
from tenure.kit.valkey import connect

# Ten jobs that have nothing to do, each every half second, their due times 50 ms apart.
_JOBS: Final = (
    "payment_watcher", "activation", "expiry", "reminders", "trial_notifications",
    "auto_renewal", "notices", "webhooks", "canary", "alerting",
)  # fmt: skip
_EVERY_S: Final = 0.5
_PER_S: Final = len(_JOBS) / _EVERY_S
_STEADY_S: Final = 2
_STAGGER: Final = """
    UPDATE schedule s SET next_due_at = clock_timestamp() + interval '1 second' + o.n * interval '50 ms'
    FROM unnest(%s::text[]) WITH ORDINALITY AS o (job, n) WHERE o.job = s.job
"""
_LATE: Final = """
    SELECT (extract(epoch FROM i.started_at - i.due_at) * 1000)::float8, s.count
    FROM iteration i JOIN slot s ON s.id = i.slot_id
    WHERE i.job = ANY(%s) AND i.due_at >= %s AND i.due_at < %s
"""
_SKIPPED: Final = "SELECT count(*) FROM slot WHERE state = 'skipped' AND due_at >= %s AND due_at < %s"


def main(*, quick: bool) -> None:
    """Print how late runs of both kinds start."""
    seconds = 5 if quick else 60
    with servers() as where:
        jobs = {job: {"every_s": _EVERY_S} for job in _JOBS}
        env = {**where.environment(), "TENURE_JOBS": json.dumps(jobs)}
        worker = ["-A", "bench.worker_app", "worker", "-Q", "default,payments", "-c", "2", "-n", "bench@%h",
                  "--without-gossip", "--without-mingle", "-l", "WARNING"]  # fmt: skip
        with ExitStack() as running:
            running.enter_context(_celery(worker, where, "worker", env))
            bare = _bare(where, seconds)
            running.enter_context(
                _celery(["-A", "tasks", "beat", "--pidfile=", "-l", "WARNING"], where, "beat", env)
            )
            accounted, coalesced, skipped = _accounted(where, seconds)
    print(f"\nlateness: {_PER_S:g} due times a second for {seconds} s, two child processes; {load_now()}")
    for name, waits in (("bare", bare), ("accounted", accounted)):
        points = statistics.quantiles(waits, n=100)
        print(f"  {name:<10} due to START  p50 {points[49]:7.1f} ms  p95 {points[94]:7.1f} ms  "
              f"p99 {points[98]:7.1f} ms  ({len(waits)} runs)")  # fmt: skip
    print(f"  due times that became one run with a later one: {coalesced}, skipped: {skipped}")
    print(f"  ratio: {statistics.median(accounted) / statistics.median(bare):.2f} x at the median")


@contextmanager
def _celery(words: Sequence[str], where: Servers, name: str, env: dict[str, str]) -> Iterator[None]:
    with running([sys.executable, "-m", "celery", *words], env, where.folder / f"{name}.log"):
        yield


def _bare(where: Servers, seconds: int) -> list[float]:
    done = connect(where.live_url, timeout_s=90)
    connection: Any = Connection(where.broker_url, transport_options={"global_keyprefix": KEY_PREFIX})  # type: ignore[no-untyped-call]

    def send(due: float) -> None:
        id_ = f"punctual-{due}"
        with producers[connection].acquire(block=True) as producer:
            producer.publish(
                [[], {"due": due}, {}], routing_key="default", exchange="", serializer="json",
                correlation_id=id_,
                headers={"lang": "py", "task": "bench.punctual", "id": id_, "root_id": id_, "argsrepr": "()",
                         "kwargsrepr": "{}", "timelimit": [10, 5], "ignore_result": True, "retries": 0},
            )  # fmt: skip

    for _ in range(4):  # the worker is there, and both children are warm
        send(time.time())
    for _ in range(4):
        assert done.blpop(["bench:late"], timeout=60), "the worker does not come"
    count = int(seconds * _PER_S)
    began = time.time() + 0.5
    for number in range(count):
        due = began + number / _PER_S
        time.sleep(max(0.0, due - time.time()))
        send(due)
    told: list[Any] = [done.blpop(["bench:late"], timeout=30) for _ in range(count)]
    connection.release()
    return [float(late) for _, late in told]


def _accounted(where: Servers, seconds: int) -> tuple[list[float], int, int]:
    with psycopg.connect(where.database_url, autocommit=True) as connection:

        def started() -> int:
            row = connection.execute("SELECT count(DISTINCT job) FROM iteration").fetchone()
            return int(row[0]) if row else 0

        until = time.monotonic() + 60
        while started() < len(_JOBS):
            assert time.monotonic() < until, "beat and worker do not come"
            time.sleep(0.1)
        connection.execute(_STAGGER, [list(_JOBS)])
        time.sleep(_STEADY_S)
        (since,) = connection.execute("SELECT clock_timestamp()").fetchone() or (None,)
        time.sleep(seconds)
        (upto,) = connection.execute("SELECT clock_timestamp()").fetchone() or (None,)
        time.sleep(_STEADY_S)
        rows = connection.execute(_LATE, [list(_JOBS), since, upto]).fetchall()
        (skipped,) = connection.execute(_SKIPPED, [since, upto]).fetchone() or (0,)
    return [late for late, _ in rows], sum(count - 1 for _, count in rows), skipped
