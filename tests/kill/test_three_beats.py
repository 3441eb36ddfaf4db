"""Three beats, three jobs a second, one beat killed, one frozen, no broker: each due time counts once."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import psutil
import pytest
from sqlalchemy import text

from tests.kill.conftest import verified
from tests.support import builders as build
from tests.support.breakable import breakable_valkey
from tests.support.waiting import until
from tests.support.worker import Ledger, beat, environment, worker

pytestmark = pytest.mark.kill

BUSY = ("canary", "expiry", "reminders")
REST = (
    "payment_watcher", "activation", "trial_notifications", "auto_renewal", "notices", "webhooks", "verify",
    "alerting", "retention",
)  # fmt: skip
JOBS = {name: {"every_s": 1} for name in BUSY} | {name: {"every_s": 86_400} for name in REST}
RESUMED_S = 60.0


def due_times(ledger: Ledger) -> int:
    """How many due times of the busy jobs were claimed so far."""
    found: int = build.rows(
        ledger.db, "SELECT coalesce(sum(count), 0) FROM slot WHERE job = ANY(:jobs)", jobs=list(BUSY)
    )[0][0]
    return found


def starts(ledger: Ledger) -> int:
    found: int = build.rows(
        ledger.db, "SELECT count(*) FROM iteration WHERE job = ANY(:jobs)", jobs=list(BUSY)
    )[0][0]
    return found


def test_every_due_time_is_claimed_once_and_each_slot_starts_or_is_skipped_with_a_reason(
    database_url: str, ledger: Ledger, tmp_path: Path
) -> None:
    with breakable_valkey(tmp_path) as broker:
        env = environment(database_url, broker.url, tmp_path, TENURE_JOBS=json.dumps(JOBS))
        with (
            worker(env, tmp_path),
            beat(env, tmp_path, name="one") as killed,
            beat(env, tmp_path, name="two") as frozen,
            beat(env, tmp_path, name="three"),
        ):
            until(lambda: starts(ledger) >= 6, RESUMED_S, what="work flows")
            until(
                lambda: build.rows(ledger.db, "SELECT 1 FROM node WHERE role = 'beat' HAVING count(*) = 3"),
                RESUMED_S,
                what="three beats are there",
            )
            killed.popen.kill()
            assert killed.popen.wait(10) == -signal.SIGKILL
            os.kill(frozen.pid, signal.SIGSTOP)
            until(
                lambda: psutil.Process(frozen.pid).status() == psutil.STATUS_STOPPED,
                what="one beat is frozen",
            )
            broker.kill()
            broker.forget()
            before = due_times(ledger)
            until(lambda: due_times(ledger) >= before + 9, RESUMED_S, what="due times without a broker")
            broker.start()
            resumed = starts(ledger)
            until(lambda: starts(ledger) >= resumed + 3, RESUMED_S, what="work resumed within a minute")
            os.kill(frozen.pid, signal.SIGCONT)
            after = starts(ledger)
            until(lambda: starts(ledger) >= after + 6, RESUMED_S, what="work flows with the thawed beat")
            with ledger.db.transaction() as session:  # nothing more falls due
                session.execute(text("UPDATE schedule SET enabled = false"))
            until(
                lambda: not build.rows(ledger.db, "SELECT 1 FROM slot WHERE state = 'pending'"),
                90,
                what="every slot is decided",
            )
    covered = build.rows(
        ledger.db,
        """
        SELECT s.job, sum(s.count) AS claimed, count(*) FILTER (WHERE s.reason IS NOT NULL) AS skipped,
               round(extract(epoch FROM max(h.next_due_at) - min(s.due_at))) AS passed
        FROM slot s JOIN schedule h ON h.job = s.job WHERE s.job = ANY(:jobs) GROUP BY s.job
        """,
        jobs=list(BUSY),
    )
    assert {row.job for row in covered} == set(BUSY)
    for row in covered:
        assert row.claimed == row.passed, row
    verified(ledger.db)
