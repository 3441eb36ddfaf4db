"""A kill between a commit and its line loses the line and not the row: `verify` counts it and is content."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tenure.kit.db import Database
from tenure.verify.printed import Printed, printed
from tests.kill.conftest import crashed
from tests.support import services
from tests.support.waiting import until
from tests.support.worker import Ledger, worker

pytestmark = pytest.mark.kill


def compared(db: Database, logs: Path, count: int) -> Printed:
    """The comparison, once so many iterations are old enough to have their lines."""

    def found() -> Printed:
        said = printed(db, logs)
        assert said is not None
        return said

    until(lambda: found().checked == count, within_s=90, what=f"{count} iterations are compared with the log")
    return found()


def without_start_of(iteration_id: str, log: Path) -> None:
    """The log loses the line of this START."""
    lines = log.read_text().splitlines()
    kept = [line for line in lines if not ("ITERATION_START" in line and iteration_id in line)]
    assert len(kept) == len(lines) - 1
    log.write_text("\n".join(kept) + "\n")


def test_a_kill_between_the_commit_and_the_line_is_counted_and_breaks_nothing(env, db, tmp_path):
    armed = {**env, "TENURE_CRASH_AT": "end.written@sleep"}
    ledger, logs = Ledger(db, armed), tmp_path / "logs"
    logs.mkdir()
    with worker(armed, logs, concurrency=1):
        killed = ledger.ended(ledger.run("sleep", "ok:0"), within=90)
        crashed(armed, "end.written")
        assert (killed["outcome"], killed["ended_by"]) == ("ok", "child")
        well = ledger.ended(ledger.run("sleep", "ok:0.1"), within=90)
    assert compared(db, logs, 2).samples == (killed["id"],)

    done = subprocess.run(
        [sys.executable, "-m", "tenure", "verify", "--json"],
        cwd=services.ROOT, env=services.environment(**env), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout)
    assert (told["ok"], told["unprinted"]) == (True, 1)
    assert (told["log"]["checked"], told["log"]["samples"]) == (2, [killed["id"]])

    without_start_of(well["id"], logs / "worker.log")
    assert compared(db, logs, 2).samples == (killed["id"], well["id"])

    # Turned over, the older file still tells; once it is gone, nothing is asked of the time it covered.
    (logs / "worker.log").rename(logs / "worker.log.1")
    lines = (logs / "worker.log.1").read_text()
    (logs / "worker.log.1").write_text('{"ts": "2001-01-01T00:00:00Z", "event": "role.started"}\n' + lines)
    (logs / "worker.log").write_text('{"ts": "2999-01-01T00:00:00Z", "event": "role.started"}\n')
    assert compared(db, logs, 2).unprinted == 2
    (logs / "worker.log.1").unlink()
    assert compared(db, logs, 0).unprinted == 0
    (logs / "worker.log").unlink()
    assert printed(db, logs) is None


def test_what_ran_on_another_machine_is_not_looked_for_in_the_log_of_this_one(env, db, tmp_path):
    ledger, logs = Ledger(db, env), tmp_path / "logs"
    logs.mkdir()
    with worker(env, logs, concurrency=1):
        ledger.ended(ledger.run("sleep", "ok:0"), within=90)
    assert compared(db, logs, 1).unprinted == 0
    elsewhere = printed(db, logs, host="another")
    assert elsewhere is not None
    assert elsewhere.checked == 0
