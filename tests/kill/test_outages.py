"""Servers away for longer than anybody's patience: due times are all claimed, and nobody is called lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tenure.kit import clock
from tenure.kit.db import Database
from tests.kill.conftest import told, verified
from tests.support import builders as build
from tests.support.breakable import BreakablePostgres, breakable_postgres
from tests.support.waiting import until
from tests.support.worker import Ledger, beat, environment, worker

pytestmark = pytest.mark.kill


LONG_THERE = """
    SELECT 1 FROM node HAVING count(*) = 3 AND max(started_at) < clock_timestamp() - make_interval(secs => :s)
"""


@pytest.fixture
def postgres_alone() -> Iterator[BreakablePostgres]:
    with breakable_postgres() as server:
        yield server


def passed(seconds: float) -> None:
    """So much time has gone by: an outage has a length."""
    end = clock.monotonic() + seconds
    until(lambda: clock.monotonic() > end, seconds + 10, what=f"{seconds} s are over")


@pytest.mark.parametrize(
    ("frozen", "lease_s", "outage_s"),
    [
        # A lease that a machine which stalls for three seconds keeps: nobody is lost for that reason either.
        pytest.param(True, 6, 24, id="frozen"),
        pytest.param(False, 6, 24, id="stopped"),
        pytest.param(True, 15, 60, id="frozen for a minute", marks=pytest.mark.slow),
    ],
)
def test_nobody_is_called_lost_because_postgres_was_away_for_several_leases(
    postgres_alone: BreakablePostgres,
    broker_url: str,
    tmp_path: Path,
    frozen: bool,
    lease_s: float,
    outage_s: float,
) -> None:
    env = environment(
        postgres_alone.url,
        broker_url,
        tmp_path,
        TENURE_NODE_LEASE_S=str(lease_s),
        TENURE_JOBS='{"sleep": {"soft_s": 300, "hard_s": 310}}',
    )
    db = Database(postgres_alone.url, pool_size=2, application="tenure-test")
    ledger = Ledger(db, env)
    with worker(env, tmp_path, name="one"), worker(env, tmp_path, name="two"), beat(env, tmp_path):
        until(
            lambda: build.rows(db, LONG_THERE, s=1.5 * lease_s),
            60 + 4 * lease_s,
            what="everybody has had PostgreSQL for long enough to judge",
        )
        slots = [ledger.run("sleep", f"ok:{outage_s + 6 + n}") for n in range(2)]
        for slot in slots:
            ledger.started(slot)
        if frozen:
            postgres_alone.freeze()
        else:
            db.close()
            postgres_alone.stop()
        passed(outage_s)
        if frozen:
            postgres_alone.thaw()
        else:
            postgres_alone.start()
        for slot in slots:
            end = ledger.ended(slot, within=outage_s + 60)
            assert (end["outcome"], end["ended_by"]) == ("ok", "child")
            assert told(ledger, end["id"]) == ["iteration.started", "iteration.ended"]
    lost = build.rows(db, "SELECT job, error_type FROM iteration WHERE outcome = 'lost'")
    assert lost == []
    verified(db)
    db.close()
