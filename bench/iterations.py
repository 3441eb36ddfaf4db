"""What accounting costs: an iteration (START, END, events) beside a bare task on the same worker.

Both are published one after the other to one worker process; CPU is what worker parent and child used, by
the operating system's count; latency is from publishing to the end of the body.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
from kombu.connection import Connection
from kombu.pools import producers

from bench.machine import Servers, servers
from tenure.iterations import slots
from tenure.iterations.catalog import Job
from tenure.iterations.queues import KEY_PREFIX
from tenure.kit.db import Database, StatementDoor
from tenure.kit.valkey import connect

ROOT = Path(__file__).resolve().parents[1]
_SLEEP = Job("sleep", "", None, 5, 10)
_DONE = "bench:done"


def main(*, quick: bool) -> None:
    """Print CPU per task and latency of both, and their ratio."""
    count = 100 if quick else 1000
    with servers() as where:
        command = [
            sys.executable, "-m", "celery", "-A", "bench.worker_app", "worker", "-Q", "default", "-c", "1",
            "-n", "bench@%h", "--without-gossip", "--without-mingle", "-l", "WARNING",
        ]  # fmt: skip
        log = (where.folder / "worker.log").open("wb")
        worker = subprocess.Popen(command, cwd=ROOT, env=where.environment(), stdout=log, stderr=log)
        try:
            _measure(where, worker.pid, count)
        finally:
            worker.terminate()
            worker.wait(30)
            log.close()


def _measure(where: Servers, pid: int, count: int) -> None:
    done = connect(where.live_url, timeout_s=90)
    db = Database(where.database_url, pool_size=1, application="bench")
    door = StatementDoor(where.database_url, application="bench")
    options = {"global_keyprefix": KEY_PREFIX}
    connection: Any = Connection(where.broker_url, transport_options=options)  # type: ignore[no-untyped-call]

    def send(name: str, task_id: str, kwargs: dict[str, object]) -> None:
        with producers[connection].acquire(block=True) as producer:
            producer.publish(
                [[], kwargs, {}],
                routing_key="default",
                exchange="",
                serializer="json",
                correlation_id=task_id,
                headers={"lang": "py", "task": name, "id": task_id, "root_id": task_id, "argsrepr": "()",
                         "kwargsrepr": "{}", "timelimit": [10, 5], "ignore_result": True, "retries": 0},
            )  # fmt: skip

    def bare(number: int) -> None:
        send("bench.bare", f"bare-{number}", {})

    def accounted(_: int) -> None:
        with db.transaction() as session:
            slot = slots.request_run(session, _SLEEP, scope="ok:0").slot_id
        door.run(
            "UPDATE slot SET publish_after = clock_timestamp() + interval '1 hour' WHERE id = %s", [slot]
        )
        send("tenure.sleep", f"{slot}.1", {"slot": slot, "attempt": 1})

    for warm in (bare, accounted):
        warm(-1)
        done.blpop([_DONE], timeout=60)
    results = {}
    for name, publish in (("bare", bare), ("accounted", accounted)):
        before, waits = _cpu(pid), []
        for number in range(count):
            began = time.perf_counter()
            publish(number)
            began = max(began, time.perf_counter())
            assert done.blpop([_DONE], timeout=30), "the task did not run"
            waits.append((time.perf_counter() - began) * 1000)
        cpu = (_cpu(pid) - before) / count * 1000
        results[name] = (cpu, statistics.median(waits), statistics.quantiles(waits, n=100)[98])
    print(f"\niterations: {count} tasks each, one after the other, one child process")
    for name, (cpu, median, p99) in results.items():
        print(
            f"  {name:<10} worker CPU {cpu:6.2f} ms/task   latency median {median:6.2f} ms  p99 {p99:7.2f} ms"
        )
    (cpu_a, median_a, _), (cpu_b, median_b, _) = results["accounted"], results["bare"]
    print(f"  ratio: {cpu_a / cpu_b:.2f} x CPU, {median_a - median_b:+.2f} ms at the median")


def _cpu(pid: int) -> float:
    root = psutil.Process(pid)
    return sum(sum(process.cpu_times()[:2]) for process in (root, *root.children(recursive=True)))
