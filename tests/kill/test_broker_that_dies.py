"""The broker killed, emptied, brought back, or frozen while work is under way: nothing is lost or doubled."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kill.conftest import alive, told, verified
from tests.support import builders as build
from tests.support.breakable import BreakableValkey, breakable_valkey
from tests.support.waiting import until
from tests.support.worker import Ledger, Process, beat, environment, worker

pytestmark = pytest.mark.kill

# What the issue promises is a minute; a worker finds its broker again by a back-off of its own.
RESUMED_S = 60.0


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[BreakableValkey]:
    with breakable_valkey(tmp_path) as server:
        yield server


@pytest.fixture
def broker_env(broker: BreakableValkey, database_url: str, tmp_path: Path) -> dict[str, str]:
    jobs = '{"sleep": {"soft_s": 20, "hard_s": 25}}'
    return environment(database_url, broker.url, tmp_path, TENURE_JOBS=jobs)


@pytest.fixture
def at_work(broker_env: dict[str, str], tmp_path: Path) -> Iterator[Process]:
    with worker(broker_env, tmp_path) as process:
        yield process


def only_end(ledger: Ledger, slot: str) -> dict:
    end = ledger.ended(slot, within=RESUMED_S)
    assert told(ledger, end["id"]) == ["iteration.started", "iteration.ended"]
    return end


@pytest.mark.parametrize("emptied", [True, False], ids=["back empty", "back with its file"])
def test_a_broker_killed_under_a_run_loses_and_doubles_nothing(
    broker: BreakableValkey, at_work: Process, ledger: Ledger, emptied: bool
) -> None:
    under_way = ledger.run("sleep", "ok:4")
    ledger.started(under_way)
    broker.kill()
    waiting = ledger.run("sleep", "ok:0")  # asked for while nobody can be told
    until(
        lambda: any(line["event"] == "slot.not_published" for line in at_work.lines()),
        RESUMED_S,
        what="it was tried",
    )
    assert ledger.slot(waiting)["published_at"] is None
    if emptied:
        broker.forget()
    broker.start()
    assert only_end(ledger, under_way)["outcome"] == "ok"
    assert only_end(ledger, waiting)["outcome"] == "ok"
    verified(ledger.db)


def test_work_whose_message_was_lost_with_the_broker_runs_within_a_minute(
    broker: BreakableValkey, broker_env: dict[str, str], ledger: Ledger, tmp_path: Path
) -> None:
    with beat(broker_env, tmp_path):  # it publishes, and nobody consumes
        slot = ledger.run("sleep", "ok:0")
        until(lambda: ledger.slot(slot)["published_at"], what="the broker has the message")
        broker.kill()
        broker.forget()
        broker.start()
        assert broker.keys() < 10
        with worker(broker_env, tmp_path):
            assert only_end(ledger, slot)["outcome"] == "ok"
    verified(ledger.db)


def test_while_the_broker_is_frozen_the_childs_own_watchdog_keeps_the_limit(
    broker: BreakableValkey, database_url: str, ledger: Ledger, tmp_path: Path
) -> None:
    # The limit comes when both run and the broker stands; their deadline for the reaper is 20 s later.
    jobs = '{"sleep": {"soft_s": 9, "hard_s": 10}}'
    env = environment(database_url, broker.url, tmp_path, TENURE_JOBS=jobs)
    with worker(env, tmp_path) as process:
        # Two runs: the parent's attempt to tell the broker of the first keeps it from watching over both.
        slots = [ledger.run("sleep", f"swallow:{seconds}") for seconds in (60, 61)]
        pids = [ledger.started(slot)["pid"] for slot in slots]
        broker.freeze()
        until(lambda: not any(alive(pid) for pid in pids), RESUMED_S, what="the children have ended")
        told = process.log.read_text()
        assert "(most recent call first):" in told  # hard limit and five seconds: with its stack
        assert "_swallow" in told
        broker.thaw()
        for slot in slots:
            end = only_end(ledger, slot)
            assert (end["outcome"], end["error_type"]) == ("timed_out", "TimeLimitExceeded")
            assert end["duration_ms"] < 45_000
        assert ledger.ended(ledger.run("sleep", "ok:0"), within=RESUMED_S)["outcome"] == "ok"
        assert process.popen.poll() is None
    assert not build.rows(ledger.db, "SELECT 1 FROM iteration WHERE ended_at IS NULL")
