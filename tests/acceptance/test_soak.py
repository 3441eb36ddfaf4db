"""Two minutes of steady work on a whole stack, and the list of what must hold."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.support import services

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(1200)]

CHECKS = {
    "pool size in the log",
    "START -> END for all",
    "no WEBHOOK_HANDLER_TIMEOUT",
    "no WORKER_TIMEOUT",
    "no LIVENESS_CHECK_FAILED",
    "no pool exhaustion",
    "no watchdog false positive: no role was restarted",
    "memory of each process is flat",
    "open files and threads are flat",
    "verify and the outside agree with the record",
    "everything is drained",
    "every client got a proper answer",
    "no unhandled error in the logs",
}


def soak(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tenure", "soak", *words],
        cwd=services.ROOT,
        env=services.environment(),
        capture_output=True,
        text=True,
        timeout=1100,
        check=False,
    )


def test_two_minutes_of_work_leave_nothing_to_find() -> None:
    done = soak("--minutes", "2", "--json")
    document = json.loads(done.stdout)
    found = [row for row in document["rows"] if not row["ok"]]
    assert found == []
    assert (done.returncode, document["ok"]) == (0, True)
    assert {row["check"] for row in document["rows"]} == CHECKS
    assert {one["role"] for one in document["processes"]} >= {"web", "worker", "relay", "beat"}
    assert document["operations"]["subscription"]["ok"] > 10
    assert " left; " in done.stderr


def test_no_time_is_a_usage_error() -> None:
    assert soak("--minutes", "0").returncode == 2
