"""What operators and brokers do to workers: revoking, expiring, delivering twice, shutting down."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import celery
import pytest
from sqlalchemy import text

from tests.kill.conftest import alive, told
from tests.support import builders as build
from tests.support.waiting import until
from tests.support.worker import Ledger, Process, worker

pytestmark = pytest.mark.kill


def revoked_by(process: Process, control: celery.Celery, slot: str, **how: Any) -> None:
    """The worker has the order."""
    answers = control.control.revoke(f"{slot}.1", reply=True, timeout=20, limit=1, **how)
    assert [next(iter(answer.values())).get("ok") for answer in answers or []], "the worker answered"
    assert process.popen.poll() is None


def one_end(ledger: Ledger, slot: str, *, within: float = 60) -> dict[str, Any]:
    end = ledger.ended(slot, within=within)
    assert told(ledger, end["id"]) == ["iteration.started", "iteration.ended"]
    return end


@pytest.mark.parametrize(("name", "ended_by"), [("SIGTERM", {"child", "parent"}), ("SIGKILL", {"parent"})])
def test_a_run_that_is_revoked_is_canceled_once(
    running: Process, ledger: Ledger, control: celery.Celery, name: str, ended_by: set[str]
) -> None:
    slot = ledger.run("sleep", "ok:100")
    pid = ledger.started(slot)["pid"]
    revoked_by(running, control, slot, terminate=True, signal=name)
    end = one_end(ledger, slot)
    assert (end["outcome"], end["error_type"]) == ("canceled", "Terminated")
    assert end["ended_by"] in ended_by
    until(lambda: not alive(pid), what="the child is gone")
    assert one_end(ledger, ledger.run("sleep", "ok:0"))["outcome"] == "ok"


def test_what_is_revoked_or_past_its_time_before_it_starts_is_skipped_and_never_starts(
    env: dict[str, str], ledger: Ledger, control: celery.Celery, tmp_path: Path
) -> None:
    with worker(env, tmp_path, concurrency=1) as running:
        busy = ledger.run("sleep", "ok:30")
        ledger.started(busy)
        revoked, late = ledger.run("sleep", "revoked"), ledger.run("sleep", "late")
        revoked_by(running, control, revoked)
        until(
            lambda: all(ledger.slot(slot)["published_at"] for slot in (revoked, late)),
            what="the messages wait behind the busy child",
        )
        with ledger.db.transaction() as session:
            session.execute(
                text("UPDATE slot SET expires_at = clock_timestamp() WHERE id = ANY(:ids)"),
                {"ids": [revoked, late]},
            )
        until(
            lambda: all(ledger.slot(slot)["state"] == "skipped" for slot in (revoked, late)), what="skipped"
        )
        assert one_end(ledger, busy)["outcome"] == "ok"
        assert (
            one_end(ledger, ledger.run("sleep", "ok:0"))["outcome"] == "ok"
        )  # the queue has moved past them
        for slot in (revoked, late):
            found = ledger.slot(slot)
            assert (found["reason"], found["iteration_ids"]) == ("expired", [])
            events = build.rows(ledger.db, "SELECT type FROM event WHERE subject = :s", s=f"slot:{slot}")
            assert [event.type for event in events] == ["slot.skipped"]
        assert any("revoked" in line["event"].lower() for line in running.lines())


def test_a_message_that_is_delivered_again_is_dropped(
    running: Process, ledger: Ledger, control: celery.Celery
) -> None:
    def deliver_again() -> None:
        control.send_task(
            "tenure.sleep", kwargs={"slot": slot, "attempt": 1}, task_id=f"{slot}.1", queue="default"
        )

    def dropped() -> int:
        return len(running.lines("slot.dropped"))

    slot = ledger.run("sleep", "ok:5")
    ledger.started(slot)
    deliver_again()
    until(lambda: dropped() == 1, what="the copy beside the run is dropped")
    assert one_end(ledger, slot)["outcome"] == "ok"
    deliver_again()
    until(lambda: dropped() == 2, what="the copy after it is dropped")
    assert len(ledger.iterations(slot)) == 1
    id_ = ledger.iterations(slot)[0]["id"]
    until(
        lambda: [line for line in running.lines("ITERATION_END") if line["iteration_id"] == id_],
        what="END is printed",  # after it is committed
    )
    said = [line["event"] for line in running.lines() if line.get("iteration_id") == id_]
    assert [event for event in said if event.startswith("ITERATION")] == ["ITERATION_START", "ITERATION_END"]


def test_a_second_sigterm_changes_nothing_in_a_warm_shutdown(running: Process, ledger: Ledger) -> None:
    slot = ledger.run("sleep", "ok:10")
    ledger.started(slot)
    running.popen.send_signal(signal.SIGTERM)
    until(lambda: "Warm shutdown" in running.log.read_text(), what="it is leaving")
    running.popen.send_signal(signal.SIGTERM)
    assert running.popen.wait(90) == 0
    assert one_end(ledger, slot)["outcome"] == "ok"


def test_sigquit_after_sigterm_cancels_the_run(running: Process, ledger: Ledger) -> None:
    slot = ledger.run("sleep", "ok:100")
    pid = ledger.started(slot)["pid"]
    running.popen.send_signal(signal.SIGTERM)
    until(lambda: "Warm shutdown" in running.log.read_text(), what="it is leaving")
    running.popen.send_signal(signal.SIGQUIT)
    running.popen.wait(90)
    end = one_end(ledger, slot)
    assert (end["outcome"], end["error_type"]) == ("canceled", "Terminated")
    until(lambda: not alive(pid), what="the child is gone")


@pytest.mark.parametrize(
    ("scope", "given_s", "ends"),
    [
        ("ok:2", 30, {("ok", None)}),
        ("ok:60", 2, {("canceled", "Terminated")}),
    ],
    ids=["the run fits", "the run does not fit"],
)
def test_a_soft_shutdown_waits_its_time_and_ends_the_run_once(
    env: dict[str, str], ledger: Ledger, tmp_path: Path, scope: str, given_s: int, ends: set[tuple[str, str]]
) -> None:
    limits = '{"sleep": {"soft_s": 70, "hard_s": 80}}'
    override = f"worker.soft_shutdown_timeout={given_s}"
    with worker({**env, "TENURE_JOBS": limits}, tmp_path, overrides=(override,)) as running:
        slot = ledger.run("sleep", scope)
        pid = ledger.started(slot)["pid"]
        running.popen.send_signal(signal.SIGQUIT)
        until(lambda: "Soft Shutdown" in running.log.read_text(), what="it waits")
        running.popen.wait(90)
    end = one_end(ledger, slot)
    assert (end["outcome"], end["error_type"]) in ends
    assert end["ended_by"] in {"child", "parent"}
    assert len(ledger.iterations(slot)) == 1
    until(lambda: not alive(pid), what="the child is gone")


def test_sigterm_to_the_whole_group_ends_the_run_once(running: Process, ledger: Ledger) -> None:
    slot = ledger.run("sleep", "ok:100")
    pid = ledger.started(slot)["pid"]
    os.killpg(running.pid, signal.SIGTERM)
    running.popen.wait(90)
    end = one_end(ledger, slot)
    # The child is ended by the same signal as its parent: it tells so itself, or its parent does.
    assert (end["outcome"], end["error_type"]) in {("canceled", "Terminated"), ("killed", "WorkerLostError")}
    until(lambda: not alive(pid), what="the child is gone")


def test_a_whole_node_killed_at_once_is_found_by_another(
    running: Process, ledger: Ledger, env: dict[str, str], tmp_path: Path
) -> None:
    slot = ledger.run("sleep", "ok:100")
    pid = ledger.started(slot)["pid"]
    os.killpg(running.pid, signal.SIGKILL)
    running.popen.wait(60)
    until(lambda: not alive(pid), what="the child is gone")
    with worker(env, tmp_path, name="second"):
        end = one_end(ledger, slot)
    assert (end["outcome"], end["ended_by"], end["error_type"]) == ("lost", "reaper", "NodeLost")
