"""One START and one END, whatever ends the run. Every test asserts that its fault really happened."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from sqlalchemy import text

from tenure.kit.db import Database
from tests.support.worker import Ledger, Process, environment, wait_until, worker

pytestmark = pytest.mark.kill

LIMITS = '{"sleep": {"soft_s": 3, "hard_s": 5}}'


@pytest.fixture
def env(database_url: str, broker_url: str, tmp_path: Path) -> dict[str, str]:
    return environment(database_url, broker_url, tmp_path, TENURE_JOBS=LIMITS)


@pytest.fixture
def running(env: dict[str, str], tmp_path: Path) -> Iterator[Process]:
    with worker(env, tmp_path) as process:
        yield process


@pytest.fixture
def ledger(db: Database, env: dict[str, str]) -> Ledger:
    return Ledger(db, env)


def told(ledger: Ledger, iteration_id: str) -> list[str]:
    with ledger.db.transaction() as session:
        rows = session.execute(
            text("SELECT type FROM event WHERE iteration_id = :id ORDER BY n"), {"id": iteration_id}
        )
        return [row.type for row in rows]


def printed(process: Process, event: str, iteration_id: str) -> int:
    return sum(line.get("iteration_id") == iteration_id for line in process.lines(event))


@pytest.mark.parametrize(
    ("scope", "outcome", "ended_by", "error_type"),
    [
        ("ok:0.1", "ok", {"child"}, None),
        ("raise", "failed", {"child"}, "AskedToFail"),
        ("ok:20", "timed_out", {"child"}, "SoftTimeLimitExceeded"),
        ("swallow:30", "timed_out", {"child", "parent"}, "TimeLimitExceeded"),
        ("kill", "killed", {"parent"}, "WorkerLostError"),
        ("exit", "killed", {"parent"}, "WorkerLostError"),
    ],
)
def test_each_end_is_written_once_and_says_what_happened(
    running: Process, ledger: Ledger, scope: str, outcome: str, ended_by: set[str], error_type: str | None
) -> None:
    slot = ledger.run("sleep", scope)
    end = ledger.ended(slot)
    assert (end["outcome"], end["error_type"]) == (outcome, error_type)
    assert end["ended_by"] in ended_by
    assert told(ledger, end["id"]) == ["iteration.started", "iteration.ended"]
    wait_until(
        lambda: printed(running, "ITERATION_END", end["id"]), within=5, what="ITERATION_END is printed"
    )
    assert printed(running, "ITERATION_START", end["id"]) == 1
    assert printed(running, "ITERATION_END", end["id"]) == 1
    assert printed(running, "WORKER_TIMEOUT", end["id"]) == (outcome == "timed_out")


def test_the_worker_goes_on_after_a_child_was_killed(running: Process, ledger: Ledger) -> None:
    killed = ledger.ended(ledger.run("sleep", "kill"))
    assert not psutil.pid_exists(killed["pid"])
    assert ledger.ended(ledger.run("sleep", "ok:0"))["outcome"] == "ok"


def test_a_child_killed_from_outside_is_killed_once(running: Process, ledger: Ledger) -> None:
    slot = ledger.run("sleep", "ok:2")
    start = ledger.started(slot)
    os.kill(start["pid"], signal.SIGKILL)
    end = ledger.ended(slot)
    assert (end["outcome"], end["ended_by"], end["error_type"]) == ("killed", "parent", "WorkerLostError")
    assert not psutil.pid_exists(start["pid"])


def test_a_node_that_dies_is_found_by_another_nodes_reaper(
    running: Process, ledger: Ledger, env: dict[str, str], tmp_path: Path
) -> None:
    slot = ledger.run("sleep", "ok:2")
    start = ledger.started(slot)
    os.kill(running.pid, signal.SIGKILL)
    running.popen.wait(5)
    wait_until(lambda: not psutil.pid_exists(start["pid"]), within=5, what="the child died with its parent")
    assert ledger.iterations(slot)[0]["ended_at"] is None
    with worker(env, tmp_path, name="second"):
        end = ledger.ended(slot, within=20)
    assert (end["outcome"], end["ended_by"], end["error_type"]) == ("lost", "reaper", "NodeLost")


def test_a_warm_shutdown_lets_the_run_end(running: Process, ledger: Ledger) -> None:
    slot = ledger.run("sleep", "ok:1")
    ledger.started(slot)
    running.stop()
    assert running.popen.returncode == 0
    assert ledger.ended(slot)["outcome"] == "ok"


def test_a_cold_shutdown_cancels_the_run(running: Process, ledger: Ledger) -> None:
    slot = ledger.run("sleep", "ok:2")
    ledger.started(slot)
    running.popen.send_signal(signal.SIGQUIT)
    running.popen.wait(20)
    end = ledger.ended(slot)
    assert (end["outcome"], end["error_type"]) == ("canceled", "Terminated")


def test_a_frozen_child_that_thaws_after_its_end_writes_nothing(
    running: Process, ledger: Ledger, env: dict[str, str], tmp_path: Path
) -> None:
    slot = ledger.run("sleep", "ok:2")
    start = ledger.started(slot)
    children = running.children()
    for pid in (running.pid, *children):
        os.kill(pid, signal.SIGSTOP)
    wait_until(
        lambda: psutil.Process(start["pid"]).status() == psutil.STATUS_STOPPED, within=5, what="it is frozen"
    )
    with worker(env, tmp_path, name="second"):
        lost = ledger.ended(slot, within=20)
    assert (lost["outcome"], lost["ended_by"]) == ("lost", "reaper")
    for pid in (running.pid, *children):
        os.kill(pid, signal.SIGCONT)
    time.sleep(2.5)  # the thawed child ends its body and tries to write
    assert ledger.iterations(slot) == [lost]
    assert told(ledger, lost["id"]) == ["iteration.started", "iteration.ended"]


def test_a_second_run_of_the_same_scope_is_skipped_as_overlap(running: Process, ledger: Ledger) -> None:
    first = ledger.run("sleep", "ok:2")
    ledger.started(first)
    second = ledger.run("sleep", "ok:2")
    skipped = wait_until(
        lambda: (slot := ledger.slot(second))["state"] == "skipped" and slot, within=10, what="skipped"
    )
    assert skipped["reason"] == "overlap"
    assert skipped["iteration_ids"] == []
    assert ledger.ended(first)["outcome"] == "ok"


def test_the_third_kill_in_a_row_puts_the_scope_into_quarantine(running: Process, ledger: Ledger) -> None:
    for _ in range(3):
        assert ledger.ended(ledger.run("sleep", "kill"))["outcome"] == "killed"
    fourth = ledger.run("sleep", "kill")
    skipped = wait_until(
        lambda: (slot := ledger.slot(fourth))["state"] == "skipped" and slot, within=10, what="skipped"
    )
    assert skipped["reason"] == "quarantined"
    assert ledger.ended(ledger.run("sleep", "ok:0"))["outcome"] == "ok"
