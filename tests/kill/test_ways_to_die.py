"""One START and one END, whatever ends the run. Every test asserts that its fault really happened."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.kill.conftest import told
from tests.support import builders as build
from tests.support import services
from tests.support.waiting import until
from tests.support.worker import Ledger, Process, worker

pytestmark = pytest.mark.kill


def printed(process: Process, event: str, iteration_id: str) -> int:
    return sum(line.get("iteration_id") == iteration_id for line in process.lines(event))


# Scope -> outcome, who may have written END, its error type. All are asked for at once and share a worker.
WAYS = {
    "ok:0.1": ("ok", {"child"}, None),
    "raise": ("failed", {"child"}, "AskedToFail"),
    "retry": ("failed", {"child"}, "Retry"),
    "reject": ("failed", {"child"}, "Reject"),
    "reject:requeue": ("failed", {"child"}, "Reject"),
    "ignore": ("failed", {"child"}, "Ignore"),
    "leave": ("failed", {"child"}, "SystemExit"),
    "memory": ("failed", {"child"}, "MemoryError"),
    "ok:20": ("timed_out", {"child"}, "SoftTimeLimitExceeded"),
    "swallow:30": ("timed_out", {"child", "parent"}, "TimeLimitExceeded"),
    "stubborn:5": ("timed_out", {"parent"}, "TimeLimitExceeded"),
    "gil": ("timed_out", {"parent"}, "TimeLimitExceeded"),
    "kill": ("killed", {"parent"}, "WorkerLostError"),
    "exit": ("killed", {"parent"}, "WorkerLostError"),
}


@pytest.fixture(scope="module")
def asked(shared_worker: Process, shared_ledger: Ledger) -> dict[str, str]:
    """The slot of each way."""
    return {scope: shared_ledger.run("sleep", scope) for scope in WAYS}


@pytest.mark.parametrize("scope", WAYS)
def test_each_end_is_written_once_and_says_what_happened(
    shared_worker: Process, shared_ledger: Ledger, asked: dict[str, str], scope: str
) -> None:
    outcome, ended_by, error_type = WAYS[scope]
    end = shared_ledger.ended(asked[scope], within=120)
    assert (end["outcome"], end["error_type"]) == (outcome, error_type)
    assert end["ended_by"] in ended_by
    assert told(shared_ledger, end["id"]) == ["iteration.started", "iteration.ended"]
    until(
        lambda: printed(shared_worker, "ITERATION_END", end["id"]),
        what="ITERATION_END is printed",
    )
    assert printed(shared_worker, "ITERATION_START", end["id"]) == 1
    assert printed(shared_worker, "ITERATION_END", end["id"]) == 1
    assert printed(shared_worker, "WORKER_TIMEOUT", end["id"]) == (outcome == "timed_out")


def test_no_way_to_die_ends_the_worker_or_runs_twice(
    shared_worker: Process, shared_ledger: Ledger, asked: dict[str, str]
) -> None:
    for scope in WAYS:
        shared_ledger.ended(asked[scope], within=120)
    assert shared_ledger.ended(shared_ledger.run("sleep", "ok:0"))["outcome"] == "ok"
    assert shared_worker.popen.poll() is None
    for scope, slot in asked.items():
        assert shared_ledger.slot(slot)["state"] == "started", scope
        assert len(shared_ledger.iterations(slot)) == 1, scope


def test_the_worker_goes_on_after_a_child_was_killed(shared_worker: Process, shared_ledger: Ledger) -> None:
    killed = shared_ledger.ended(shared_ledger.run("sleep", "kill"))
    assert not psutil.pid_exists(killed["pid"])
    assert shared_ledger.ended(shared_ledger.run("sleep", "ok:0"))["outcome"] == "ok"


def test_a_child_killed_from_outside_is_killed_once(running: Process, ledger: Ledger) -> None:
    slot = ledger.run("sleep", "ok:100")
    start = ledger.started(slot)
    os.kill(start["pid"], signal.SIGKILL)
    end = ledger.ended(slot)
    assert (end["outcome"], end["ended_by"], end["error_type"]) == ("killed", "parent", "WorkerLostError")
    assert not psutil.pid_exists(start["pid"])


def test_a_second_run_of_the_same_scope_is_skipped_as_overlap(running: Process, ledger: Ledger) -> None:
    first = ledger.run("sleep", "ok:15")
    ledger.started(first)
    second = ledger.run("sleep", "ok:15")
    skipped = until(
        lambda: (slot := ledger.slot(second))["state"] == "skipped" and slot,
        what="skipped",
    )
    assert skipped["reason"] == "overlap"
    assert skipped["iteration_ids"] == []
    assert ledger.ended(first)["outcome"] == "ok"


def skipped(ledger: Ledger, slot: str) -> str:
    """Why the slot did not start."""
    found = until(lambda: (row := ledger.slot(slot))["state"] == "skipped" and row, what="it is skipped")
    assert found["iteration_ids"] == []
    reason: str = found["reason"]
    return reason


def open_alerts(ledger: Ledger) -> list[str]:
    """The subjects in quarantine that an alert tells of, after the job that looks."""
    assert ledger.ended(ledger.run("alerting"), within=60)["outcome"] == "ok"
    rows = build.rows(
        ledger.db, "SELECT subject FROM alert WHERE rule = 'job_quarantined' AND resolved_at IS NULL"
    )
    return [row.subject for row in rows]


def test_the_third_kill_in_a_row_puts_the_scope_into_quarantine_until_somebody_resumes_the_job(
    shared_worker: Process, shared_ledger: Ledger, shared_env: dict[str, str]
) -> None:
    for _ in range(3):
        assert shared_ledger.ended(shared_ledger.run("sleep", "kill:again"))["outcome"] == "killed"
    assert skipped(shared_ledger, shared_ledger.run("sleep", "kill:again")) == "quarantined"
    # Others flow, and somebody is told.
    assert shared_ledger.ended(shared_ledger.run("sleep", "ok:0"))["outcome"] == "ok"
    assert open_alerts(shared_ledger) == ["sleep:kill:again"]
    lifted = subprocess.run(
        [sys.executable, "-m", "tenure", "schedule", "resume", "sleep"],
        env=dict(services.environment(**shared_env)), cwd=services.ROOT,
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert lifted.returncode == 0, lifted.stderr
    assert shared_ledger.ended(shared_ledger.run("sleep", "kill:again"))["outcome"] == "killed"
    # Lifted it was, but the fourth kill in a row is one too many again.
    assert skipped(shared_ledger, shared_ledger.run("sleep", "kill:again")) == "quarantined"


def test_an_attempt_that_was_killed_is_followed_by_the_next_while_the_job_has_more(
    env: dict[str, str], ledger: Ledger, tmp_path: Path
) -> None:
    with worker({**env, "TENURE_JOBS": '{"sleep": {"max_attempts": 2}}'}, tmp_path):
        slot = ledger.run("sleep", "kill")
        until(
            lambda: len([i for i in ledger.iterations(slot) if i["ended_at"]]) == 2, 120, what="two attempts"
        )
        assert ledger.ended(ledger.run("sleep", "ok:0"))["outcome"] == "ok"
        ends = ledger.iterations(slot)
    assert [(end["attempt"], end["outcome"], end["ended_by"]) for end in ends] == [
        (2, "killed", "parent"),
        (1, "killed", "parent"),
    ]
    assert ledger.slot(slot)["state"] == "started"
