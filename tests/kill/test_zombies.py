"""Processes that were given up and come back: what they write late is refused, and answers that were cut."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import psycopg
import pytest

from tenure.chaos.proxy import Mode, Proxy, Weather
from tenure.kit.db import Database
from tests.kill.conftest import LIMITS, told, verified
from tests.support import builders as build
from tests.support.waiting import until
from tests.support.worker import Ledger, Process, environment, worker

pytestmark = pytest.mark.kill

LATE_WRITES = 50
# Longer than everybody waits here: a run that met its limit would not tell how often it was refused.
LONG = '{"sleep": {"soft_s": 500, "hard_s": 550}}'


def writes(ledger: Ledger, iteration_id: str) -> int:
    """How many writes of the iteration's body are committed."""
    found: int = build.rows(
        ledger.db,
        "SELECT count(*) FROM event WHERE type = 'sleep.wrote' AND subject = :s",
        s=f"iteration:{iteration_id}",
    )[0][0]
    return found


@pytest.mark.parametrize("with_child", [True, False], ids=["the whole node", "only its parent"])
def test_every_late_write_of_a_run_that_was_given_up_is_refused(
    database_url: str, broker_url: str, ledger: Ledger, tmp_path: Path, with_child: bool
) -> None:
    env = environment(database_url, broker_url, tmp_path, TENURE_JOBS=LONG)
    with worker(env, tmp_path, name="zombie") as zombie, worker(env, tmp_path, name="second"):
        zombies = {zombie.pid, *zombie.children()}
        # Two scopes, so that one of them surely runs here.
        slots = [ledger.run("sleep", f"write:{LATE_WRITES}")]
        start = ledger.started(slots[0])
        if start["pid"] not in zombies:  # the other worker has it: then that one is the zombie
            parent = psutil.Process(start["pid"]).parent()
            assert parent is not None
            zombies = {parent.pid, *(child.pid for child in parent.children(recursive=True))}
            leader = parent.pid
        else:
            leader = zombie.pid
        until(lambda: writes(ledger, start["id"]) > 3, what="it writes")
        frozen = zombies if with_child else {leader}
        for pid in frozen:
            os.kill(pid, signal.SIGSTOP)
        until(
            lambda: all(psutil.Process(pid).status() == psutil.STATUS_STOPPED for pid in frozen),
            what="they are frozen",
        )
        lost = ledger.ended(slots[0], within=90)
        assert (lost["outcome"], lost["ended_by"], lost["error_type"]) == ("lost", "reaper", "NodeLost")
        before = writes(ledger, lost["id"])
        for pid in frozen:
            os.kill(pid, signal.SIGCONT)

        def refused() -> list[int]:
            return [
                line["times"]
                for log in tmp_path.glob("*.log")
                for line in Process(zombie.popen, log).lines("sleep.refused")
                if line["iteration_id"] == lost["id"]
            ]

        assert until(refused, 180, what="it has tried to write") == [LATE_WRITES]
        assert writes(ledger, lost["id"]) == before
        assert ledger.iterations(slots[0]) == [lost]
        assert told(ledger, lost["id"])[-1] == "iteration.ended"
    verified(ledger.db)


def backends_of_children(db: Database, doing: str) -> list[int]:
    """The server's processes that do this for a worker's child (a pattern of state and wait)."""
    found = build.rows(
        db,
        "SELECT pid FROM pg_stat_activity WHERE application_name = 'tenure-child'"
        " AND state || ' ' || coalesce(wait_event_type, '') LIKE :doing",
        doing=doing,
    )
    return [pid for (pid,) in found]


def test_a_zombie_that_was_frozen_in_its_transaction_goes_on_after_the_server_ended_that(
    database_url: str, broker_url: str, ledger: Ledger, tmp_path: Path
) -> None:
    env = environment(database_url, broker_url, tmp_path, TENURE_JOBS=LONG)
    with worker(env, tmp_path, name="zombie") as zombie:
        slot = ledger.run("sleep", f"write:{LATE_WRITES}")
        run = ledger.started(slot)
        until(lambda: writes(ledger, run["id"]) > 3, what="it writes")
        frozen = {zombie.pid, *zombie.children()}
        with psycopg.connect(database_url) as holder:
            # Nobody can write an event: the child's transaction waits in its middle.
            holder.execute("LOCK TABLE event IN SHARE MODE")
            until(lambda: backends_of_children(ledger.db, "active Lock"), what="it waits")
            for pid in frozen:
                os.kill(pid, signal.SIGSTOP)
        (open_one,) = until(
            lambda: backends_of_children(ledger.db, "idle in transaction%"), what="it is open"
        )
        with worker(env, tmp_path, name="second"):
            lost = ledger.ended(slot, within=90)
            assert (lost["outcome"], lost["ended_by"], lost["error_type"]) == ("lost", "reaper", "NodeLost")
        # What it had locked was free before its entry goes.
        until(
            lambda: open_one not in backends_of_children(ledger.db, "%"),
            what="the server has ended the transaction",
        )
        before = writes(ledger, lost["id"])
        for pid in frozen:
            os.kill(pid, signal.SIGCONT)
        until(lambda: zombie.lines("sleep.refused"), 180, what="it has tried to write")
        assert [line["times"] for line in zombie.lines("sleep.refused")] == [LATE_WRITES]
        assert writes(ledger, lost["id"]) == before
        assert ledger.iterations(slot) == [lost]
    verified(ledger.db)


def test_a_frozen_child_is_ended_by_its_parents_hard_limit(
    env: dict[str, str], ledger: Ledger, tmp_path: Path
) -> None:
    with worker({**env, "TENURE_JOBS": '{"sleep": {"soft_s": 12, "hard_s": 14}}'}, tmp_path):
        slot = ledger.run("sleep", "ok:60")
        pid = ledger.started(slot)["pid"]
        os.kill(pid, signal.SIGSTOP)
        until(lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED, what="it is frozen")
        end = ledger.ended(slot)
    assert (end["outcome"], end["ended_by"], end["error_type"]) == (
        "timed_out",
        "parent",
        "TimeLimitExceeded",
    )
    assert told(ledger, end["id"]) == ["iteration.started", "iteration.ended"]


@pytest.fixture
def proxy(database_url: str) -> Iterator[Proxy]:
    parts = urlsplit(database_url)
    assert parts.hostname
    assert parts.port
    with Proxy((parts.hostname, parts.port)) as running:
        yield running


@pytest.fixture
def cut_worker(proxy: Proxy, database_url: str, broker_url: str, tmp_path: Path) -> Iterator[Process]:
    """A worker whose every word to PostgreSQL goes through the proxy."""
    port = urlsplit(database_url).port
    through = database_url.replace(f":{port}/", f":{proxy.port}/")
    env = environment(through, broker_url, tmp_path, TENURE_JOBS=LIMITS)
    with worker(env, tmp_path) as process:
        yield process


# What only START's answer holds: the slot's new state, no reason, and the job.
START_ANSWER = b"started\xff\xff\xff\xff\x00\x00\x00\x05sleep"
# What only the answer to the child's END holds: its outcome and who wrote it.
END_ANSWER = b"ok\x00\x00\x00\x05child"
CUTS = 10


@pytest.mark.parametrize(
    ("mark", "outcome", "error_type"),
    [
        pytest.param(START_ANSWER, "failed", "StartUnknown", id="START's answer"),
        pytest.param(END_ANSWER, "ok", None, id="END's answer"),
    ],
)
def test_a_run_whose_answer_from_postgres_was_cut_has_one_start_and_one_end(
    proxy: Proxy,
    cut_worker: Process,
    ledger: Ledger,
    mark: bytes,
    outcome: str,
    error_type: str | None,
) -> None:
    proxy.set(Weather(Mode.CUT, mark=mark, cuts=CUTS))
    slots = [ledger.run("sleep", f"ok:0.{number}") for number in range(CUTS)]
    for slot in slots:
        end = ledger.ended(slot, within=90)
        assert (end["outcome"], end["ended_by"], end["error_type"]) == (outcome, "child", error_type)
        assert told(ledger, end["id"]) == ["iteration.started", "iteration.ended"]
    assert proxy.counts.get("cut") == CUTS
    assert ledger.ended(ledger.run("sleep", "ok:0"))["outcome"] == "ok"
    verified(ledger.db)
