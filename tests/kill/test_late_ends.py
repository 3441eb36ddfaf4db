"""A verdict that PostgreSQL could not take is written when it is back, long before the run's deadline."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import celery
import pytest

from tenure.kit.db import Database
from tests.kill.conftest import accepted, verified
from tests.support.breakable import BreakablePostgres, breakable_postgres
from tests.support.waiting import until
from tests.support.worker import Ledger, Process, environment, worker

pytestmark = pytest.mark.kill

# Five minutes: an END within seconds of the server's return was not the reaper's.
LIMITS = '{"sleep": {"soft_s": 280, "hard_s": 300}}'


@pytest.fixture
def postgres_alone() -> Iterator[BreakablePostgres]:
    with breakable_postgres() as server:
        yield server


@pytest.fixture
def env(postgres_alone: BreakablePostgres, broker_url: str, tmp_path: Path) -> dict[str, str]:
    return environment(postgres_alone.url, broker_url, tmp_path, TENURE_JOBS=LIMITS)


@pytest.fixture
def running(env: dict[str, str], tmp_path: Path) -> Iterator[Process]:
    with worker(env, tmp_path) as process:
        yield process


@pytest.fixture
def alone(postgres_alone: BreakablePostgres, env: dict[str, str]) -> Iterator[Ledger]:
    db = Database(postgres_alone.url, pool_size=2, application="tenure-test")
    yield Ledger(db, env)
    db.close()


def test_a_run_that_ended_while_postgres_was_away_is_ok_when_it_is_back(
    postgres_alone: BreakablePostgres, running: Process, alone: Ledger
) -> None:
    slot = alone.run("sleep", "ok:15")
    alone.started(slot)
    alone.db.close()
    postgres_alone.stop()
    until(lambda: running.lines("end.waits"), 120, what="the child could not write END")
    assert running.lines("end.waits")[0]["ended_by"] == "child"
    postgres_alone.start()
    end = alone.ended(slot, within=120)
    assert (end["outcome"], end["ended_by"]) == ("ok", "child")
    until(lambda: running.lines("end.written_late"), what="the log says how late")
    assert len(running.lines("ITERATION_END")) == 1
    again = alone.run("sleep", "ok:0")
    assert alone.ended(again, within=120)["outcome"] == "ok", "the job is not blocked"
    verified(alone.db)


def test_a_child_killed_while_postgres_was_away_is_told_by_its_parent_when_it_is_back(
    postgres_alone: BreakablePostgres, running: Process, alone: Ledger, control: celery.Celery
) -> None:
    slot = alone.run("sleep", "ok:250")
    start = alone.started(slot)
    accepted(control, slot)
    alone.db.close()
    postgres_alone.stop()
    os.kill(start["pid"], signal.SIGKILL)
    until(lambda: running.lines("end.waits"), 120, what="the parent could not write END")
    assert running.lines("end.waits")[0]["ended_by"] == "parent"
    postgres_alone.start()
    end = alone.ended(slot, within=120)
    assert (end["outcome"], end["ended_by"], end["error_type"]) == ("killed", "parent", "WorkerLostError")
    verified(alone.db)
