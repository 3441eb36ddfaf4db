"""A child killed at each of its crash points, in each of the six jobs: one START, one END, nothing left over.

The stories of the jobs go on side by side in one worker. A story asks for runs one after another; each run
dies at the first point that is still armed for its job, so the points are met in their order. The run that
dies before START is delivered again and dies at the next point: those two share a slot.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from tenure.iterations import queries
from tenure.kit.db import Database
from tests.kill.conftest import alive, crashed, crashes, told, verified
from tests.support import builders as build
from tests.support.worker import Ledger, Process, worker

pytestmark = pytest.mark.kill

JOBS = ("reminders", "trial_notifications", "expiry", "activation", "payment_watcher", "auto_renewal")
# Point -> outcome, who wrote END. In the order in which a run meets them.
POINTS = {
    "start.before": None,  # no START of that delivery: the next one decides
    "start.written": ("killed", "parent"),
    "start.told": ("killed", "parent"),
    "body.uncommitted": ("killed", "parent"),
    "body.committed": ("killed", "parent"),
    "end.before": ("killed", "parent"),
    "end.written": ("ok", "child"),
}
SPEC = ",".join(f"{point}@{job}" for job in JOBS for point in POINTS)
# Published again after 10 s; the parent learns of a death within 5 s. And a loaded machine.
REPAIRED_S = 90.0


@dataclass(frozen=True, slots=True)
class Death:
    """What a death left: the process's own line, the slot's iterations soon after it, and the slot."""

    crash: dict
    at_once: list[dict]
    slot: str


@pytest.fixture(scope="module")
def armed_env(shared_env: dict[str, str]) -> dict[str, str]:
    return {**shared_env, "TENURE_CRASH_AT": SPEC, "TENURE_JOBS": json.dumps({"sleep": {"soft_s": 3}})}


@pytest.fixture(scope="module")
def armed_worker(armed_env: dict[str, str]) -> Iterator[Process]:
    with worker(armed_env, Path(armed_env["TENURE_DATA_DIR"]), name="armed", concurrency=6) as process:
        yield process


@pytest.fixture(scope="module")
def armed_ledger(armed_env: dict[str, str]) -> Iterator[Ledger]:
    db = Database(armed_env["TENURE_DATABASE_URL"], pool_size=len(JOBS) + 2, application="tenure-test")
    yield Ledger(db, armed_env)
    db.close()


def a_story(ledger: Ledger, env: dict[str, str], job: str) -> dict[str, Death]:
    """The deaths of this job by their points."""
    deaths = {}
    slot = ledger.run(job, "start.before")
    crash = crashed(env, "start.before", job)
    deaths["start.before"] = Death(crash, ledger.iterations(slot), slot)
    for point in list(POINTS)[1:]:
        if point != "start.written":
            slot = ledger.run(job, point)
        crash = crashed(env, point, job)
        deaths[point] = Death(crash, ledger.iterations(slot), slot)
        ledger.ended(slot, within=REPAIRED_S)
    return deaths


@pytest.fixture(scope="module")
def stories(
    armed_worker: Process, armed_ledger: Ledger, armed_env: dict[str, str]
) -> Iterator[dict[str, Future[dict[str, Death]]]]:
    with ThreadPoolExecutor(max_workers=len(JOBS)) as pool:
        yield {job: pool.submit(a_story, armed_ledger, armed_env, job) for job in JOBS}


@pytest.mark.parametrize("job", JOBS)
@pytest.mark.parametrize("point", POINTS)
def test_a_child_killed_here_leaves_one_start_and_one_end(
    stories: dict[str, Future[dict[str, Death]]], armed_ledger: Ledger, point: str, job: str
) -> None:
    death = stories[job].result(timeout=500)[point]
    assert (death.crash["role"], death.crash["job"]) == ("child", job)
    end = armed_ledger.ended(death.slot, within=REPAIRED_S)
    assert told(armed_ledger, end["id"]) == ["iteration.started", "iteration.ended"]
    assert armed_ledger.slot(death.slot)["state"] == "started"
    if POINTS[point] is None:
        # Nothing had begun when it died. Another child may have the message already: the pool gives it out
        # again at once when the parent had not yet read that the dead one took it.
        assert death.crash["pid"] not in [begun["pid"] for begun in death.at_once]
        assert end["pid"] != death.crash["pid"]
        return
    assert end["pid"] == death.crash["pid"]
    assert (end["outcome"], end["ended_by"]) == POINTS[point]


def test_after_all_these_deaths_each_job_runs_and_every_invariant_holds(
    stories: dict[str, Future[dict[str, Death]]],
    armed_ledger: Ledger,
    armed_worker: Process,
    armed_env: dict[str, str],
) -> None:
    for job in JOBS:
        stories[job].result(timeout=500)
    assert len(crashes(armed_env)) == len(JOBS) * len(POINTS)
    for slot in [armed_ledger.run(job, "after") for job in JOBS]:
        assert armed_ledger.ended(slot, within=REPAIRED_S)["outcome"] == "ok"
    assert armed_worker.popen.poll() is None
    with armed_ledger.db.transaction() as session:
        assert queries.slots(session, state="pending").items == []
        assert queries.iterations(session, is_open=True).items == []
    assert not build.rows(armed_ledger.db, "SELECT 1 FROM quarantine")
    assert not any(alive(crash["pid"]) for crash in crashes(armed_env))
    verified(armed_ledger.db)
