"""What accounting costs: an iteration (START, END, events) beside a bare task on the same worker.

Both are published one at a time to one worker process, in turns; what is published is made before its turn
begins. CPU is what worker parent and child used, by the operating system's count; latency is from publishing
to the end of the body. A bare task and a run both write two lines to the log, Celery's and the record's; the
bare task is measured without its lines too.
"""

from __future__ import annotations

import statistics
import sys
import time
from dataclasses import dataclass
from typing import Any

import psutil
from kombu.connection import Connection
from kombu.pools import producers

from bench.machine import Servers, load_now, servers
from bench.serving import running
from tenure.iterations import slots
from tenure.iterations.catalog import Job
from tenure.iterations.queues import KEY_PREFIX
from tenure.kit.db import Database, StatementDoor
from tenure.kit.valkey import connect

_SLEEP = Job("sleep", "", None, 5, 10)
_DONE = "bench:done"
_ROUNDS = 10


@dataclass(frozen=True, slots=True)
class Message:
    """What a task is sent as."""

    task: str
    id: str
    kwargs: dict[str, object]


def main(*, quick: bool) -> None:
    """Print CPU per task and latency of both, and their ratio."""
    count = 100 if quick else 1000
    with servers() as where:
        command = [
            sys.executable, "-m", "celery", "-A", "bench.worker_app", "worker", "-Q", "default", "-c", "1",
            "-n", "bench@%h", "--without-gossip", "--without-mingle", "-l", "WARNING",
            # A child that is replaced would be counted to whichever of the two is being measured.
            "--max-tasks-per-child", "1000000",
        ]  # fmt: skip
        with running(command, where.environment(), where.folder / "worker.log") as worker:
            _measure(where, worker.pid, count)


def _measure(where: Servers, pid: int, count: int) -> None:
    done = connect(where.live_url, timeout_s=90)
    db = Database(where.database_url, pool_size=1, application="bench")
    door = StatementDoor(where.database_url, application="bench")
    options = {"global_keyprefix": KEY_PREFIX}
    connection: Any = Connection(where.broker_url, transport_options=options)  # type: ignore[no-untyped-call]

    def send(message: Message) -> None:
        with producers[connection].acquire(block=True) as producer:
            producer.publish(
                [[], message.kwargs, {}],
                routing_key="default",
                exchange="",
                serializer="json",
                correlation_id=message.id,
                headers={"lang": "py", "task": message.task, "id": message.id, "root_id": message.id,
                         "argsrepr": "()", "kwargsrepr": "{}", "timelimit": [10, 5], "ignore_result": True,
                         "retries": 0},
            )  # fmt: skip

    def bare(number: int) -> Message:
        return Message("bench.bare", f"bare-{number}", {})

    def unlogged(number: int) -> Message:
        return Message("bench.unlogged", f"unlogged-{number}", {})

    def accounted(_: int) -> Message:
        with db.transaction() as session:
            slot = slots.request_run(session, _SLEEP, scope="ok:0").slot_id
        door.run(
            "UPDATE slot SET publish_after = clock_timestamp() + interval '1 hour' WHERE id = %s", [slot]
        )
        return Message("tenure.sleep", f"{slot}.1", {"slot": slot, "attempt": 1})

    kinds = {"bare": bare, "unlogged": unlogged, "accounted": accounted}
    for make in kinds.values():
        send(make(-1))
        done.blpop([_DONE], timeout=60)
    cpu = dict.fromkeys(kinds, 0.0)
    waits: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(_ROUNDS):  # in turns, so that whatever else the machine does meets both
        for name, make in kinds.items():
            messages = [make(number) for number in range(count // _ROUNDS)]
            before = _cpu(pid)
            for message in messages:
                send(message)
                began = time.perf_counter()
                assert done.blpop([_DONE], timeout=30), "the task did not run"
                waits[name].append((time.perf_counter() - began) * 1000)
            cpu[name] += _cpu(pid) - before
    _tell(count, cpu, waits)


def _tell(count: int, cpu: dict[str, float], waits: dict[str, list[float]]) -> None:
    print(f"\niterations: {count} tasks each, one child process, PostgreSQL without fsync; {load_now()}")
    for name, used in cpu.items():
        points = statistics.quantiles(waits[name], n=100)
        print(
            f"  {name:<10} worker CPU {used / count * 1000:6.2f} ms/task   "
            f"latency median {points[49]:6.2f} ms  p99 {points[98]:7.2f} ms"
        )
    for peer in ("bare", "unlogged"):
        more = statistics.median(waits["accounted"]) - statistics.median(waits[peer])
        print(f"  ratio to {peer}: {cpu['accounted'] / cpu[peer]:.2f} x CPU, {more:+.2f} ms at the median")


def _cpu(pid: int) -> float:
    root = psutil.Process(pid)
    return sum(sum(process.cpu_times()[:2]) for process in (root, *root.children(recursive=True)))
