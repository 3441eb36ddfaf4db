"""Worker parents, beats, relays and web killed at their crash points: who is left repairs it, once.

The victim runs alone until it has died; then somebody else, who is not armed, is started beside what it left.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import RemoteDisconnected
from pathlib import Path
from typing import Any

import celery
import pytest
import redis
from sqlalchemy import text

from tenure.embedded.valkey import Valkey
from tenure.events import order
from tenure.events.append import NewEvent, append
from tenure.kit.valkey import connect
from tests.kill.conftest import LIMITS, accepted, alive, crashed, crashes, told, verified
from tests.support import builders as build
from tests.support import web as web_support
from tests.support.waiting import until
from tests.support.worker import Ledger, Process, beat, process, worker

pytestmark = pytest.mark.kill

# A lease of 3 s, a publishing back-off of 10 s, a relay's lease of 10 s: and a loaded machine.
REPAIRED_S = 120.0


@contextmanager
def victim(env: dict[str, str], folder: Path, spec: str) -> Iterator[Process]:
    with worker({**env, "TENURE_CRASH_AT": spec}, folder, name="victim") as process_:
        yield process_


def killed_at(env: dict[str, str], victim: Process, point: str) -> dict:
    death = crashed(env, point)
    assert victim.popen.wait(60) == -9
    assert death["pid"] == victim.pid
    return death


def only_one_start_and_end(ledger: Ledger, slot: str) -> dict:
    end = ledger.ended(slot, within=REPAIRED_S)
    assert told(ledger, end["id"]) == ["iteration.started", "iteration.ended"]
    assert ledger.slot(slot)["state"] == "started"
    verified(ledger.db)
    return end


@pytest.mark.parametrize("point", ["publish.claimed", "publish.sent"])
def test_a_publisher_killed_before_it_could_say_so_leaves_a_slot_that_a_worker_starts_once(
    env: dict[str, str], ledger: Ledger, tmp_path: Path, point: str
) -> None:
    # Beat publishes as a worker does, but takes no messages: a worker might begin the run before it dies.
    with beat({**env, "TENURE_CRASH_AT": f"{point}@sleep"}, tmp_path) as dying:
        slot = ledger.run("sleep", "ok:0")
        killed_at(env, dying, point)
    left = ledger.slot(slot)
    assert (left["state"], left["published_at"]) == ("pending", None)
    with worker(env, tmp_path, name="second"):
        assert only_one_start_and_end(ledger, slot)["outcome"] == "ok"


def test_a_parent_killed_before_start_leaves_a_slot_that_another_node_starts(
    env: dict[str, str], ledger: Ledger, tmp_path: Path
) -> None:
    with victim(env, tmp_path, "request.received@sleep") as dying:
        slot = ledger.run("sleep", "ok:0")
        killed_at(env, dying, "request.received")
        assert ledger.slot(slot)["state"] == "pending"
    with worker(env, tmp_path, name="second"):
        assert only_one_start_and_end(ledger, slot)["outcome"] == "ok"


def test_a_parent_killed_when_its_child_has_the_message_leaves_a_lost_run_or_none(
    env: dict[str, str], ledger: Ledger, tmp_path: Path
) -> None:
    with victim(env, tmp_path, "request.accepted@sleep") as dying:
        slot = ledger.run("sleep", "ok:5")
        killed_at(env, dying, "request.accepted")
    with worker(env, tmp_path, name="second"):
        end = only_one_start_and_end(ledger, slot)
    # The child dies with its parent: with START written or not.
    assert (end["outcome"], end["ended_by"]) in {("lost", "reaper"), ("ok", "child")}


def test_a_parent_killed_before_it_could_end_its_childs_run_leaves_it_to_the_reaper(
    env: dict[str, str], ledger: Ledger, control: celery.Celery, tmp_path: Path
) -> None:
    with victim(env, tmp_path, "end.parent@sleep") as dying:
        slot = ledger.run("sleep", "ok:100")
        start = ledger.started(slot)
        accepted(control, slot)
        os.kill(start["pid"], signal.SIGKILL)
        killed_at(env, dying, "end.parent")
        [left] = ledger.iterations(slot)
        assert left["ended_at"] is None
        assert not alive(left["pid"])
    with worker(env, tmp_path, name="second"):
        end = only_one_start_and_end(ledger, slot)
    assert (end["outcome"], end["ended_by"], end["error_type"]) == ("lost", "reaper", "NodeLost")


def test_a_reaper_killed_after_its_verdict_has_given_it_once(
    env: dict[str, str], ledger: Ledger, tmp_path: Path
) -> None:
    with worker(env, tmp_path, name="first") as first:
        slot = ledger.run("sleep", "ok:100")
        ledger.started(slot)
        first.popen.kill()
    with victim(env, tmp_path, "repair.reaped") as dying:
        killed_at(env, dying, "repair.reaped")
    end = only_one_start_and_end(ledger, slot)
    assert (end["outcome"], end["ended_by"]) == ("lost", "reaper")
    with worker(env, tmp_path, name="second"):
        assert ledger.ended(ledger.run("sleep", "ok:0"), within=REPAIRED_S)["outcome"] == "ok"
    assert ledger.iterations(slot) == [end]


def test_a_repairer_killed_after_it_skipped_a_slot_has_skipped_it_once(
    env: dict[str, str], ledger: Ledger, tmp_path: Path
) -> None:
    slot = ledger.run("sleep", "ok:0")
    with ledger.db.transaction() as session:
        session.execute(text("UPDATE slot SET expires_at = clock_timestamp() - interval '1 second'"))
    with beat({**env, "TENURE_CRASH_AT": "repair.skipped@sleep"}, tmp_path) as dying:
        killed_at(env, dying, "repair.skipped")
    with worker(env, tmp_path, name="second"):
        assert ledger.ended(ledger.run("sleep", "ok:1"), within=REPAIRED_S)["outcome"] == "ok"
    skipped = ledger.slot(slot)
    assert (skipped["state"], skipped["reason"], skipped["iteration_ids"]) == ("skipped", "undelivered", [])
    events = build.rows(ledger.db, "SELECT type FROM event WHERE subject = :s", s=f"slot:{slot}")
    assert [event.type for event in events] == ["slot.skipped"]
    verified(ledger.db)


def test_a_beat_killed_with_slots_unpublished_leaves_them_to_the_next_publisher(
    env: dict[str, str], ledger: Ledger, tmp_path: Path
) -> None:
    # Its broker is away: its own house-keeping, another thread, might publish before it dies.
    armed = {**env, "TENURE_CRASH_AT": "beat.slots", "TENURE_BROKER_URL": "redis://127.0.0.1:9/0"}
    with beat(armed, tmp_path) as dying:
        killed_at(env, dying, "beat.slots")
    left = build.rows(ledger.db, "SELECT id FROM slot WHERE state = 'pending' AND published_at IS NULL")
    assert len(left) > 5  # every job's first
    with worker(env, tmp_path, name="second"):
        for (slot,) in left:
            ledger.ended(slot, within=REPAIRED_S)
    verified(ledger.db)


def test_a_web_process_killed_after_it_took_a_run_leaves_it_to_the_next_publisher(
    env: dict[str, str], ledger: Ledger, tmp_path: Path
) -> None:
    with web_support.running(
        tmp_path,
        database_url=env["TENURE_DATABASE_URL"],
        broker_url=env["TENURE_BROKER_URL"],
        live_url=env["TENURE_LIVE_URL"],
        TENURE_CRASH_AT="run.requested",
    ) as web:
        with pytest.raises((RemoteDisconnected, ConnectionError)):
            web.call("POST", "/jobs/sleep/runs", json={"scope": "ok:0"}, headers={"Idempotency-Key": "k-1"})
        assert crashed(env, "run.requested")["role"] == "web"
        until(lambda: answers(web), REPAIRED_S, what="the web process is back")
        again = web.call(
            "POST", "/jobs/sleep/runs", json={"scope": "ok:0"}, headers={"Idempotency-Key": "k-1"}
        )
    [(slot,)] = build.rows(ledger.db, "SELECT id FROM slot")
    assert again.json["slot_id"] == slot  # the caller, who knows nothing, asks again by the same key
    with worker({**env, "TENURE_JOBS": LIMITS}, tmp_path, name="second"):
        assert only_one_start_and_end(ledger, slot)["outcome"] == "ok"


def answers(web: Any) -> bool:
    try:
        return bool(web.call("GET", "/livez", role=None).status == 200)
    except OSError:
        return False


@pytest.fixture
def live(valkey_server: Valkey, live_url: str) -> Iterator[redis.Redis]:
    client = connect(live_url)
    yield client
    client.close()


@pytest.mark.parametrize("point", ["relay.numbered", "relay.published"])
def test_a_relay_killed_between_its_steps_is_followed_by_another_that_tells_each_event_once(
    env: dict[str, str], ledger: Ledger, live: redis.Redis, live_url: str, tmp_path: Path, point: str
) -> None:
    with ledger.db.transaction() as session:
        append(session, [NewEvent(f"test.{n}", "slot:x", ("iterations", "slot:x")) for n in range(3)])
    env = {**env, "TENURE_LIVE_URL": live_url}
    armed = {**env, "TENURE_CRASH_AT": point}
    with process(["tenure", "relay"], log=tmp_path / "first.log", env=armed) as dying:
        killed_at(env, dying, point)
    published: Any = live.xlen("tenure:live:stream:iterations")
    assert published == (3 if point == "relay.published" else 0)
    with process(["tenure", "relay"], log=tmp_path / "second.log", env=env):
        until(lambda: live.get("tenure:live:published") == "3", REPAIRED_S, what="everything is published")
        until(
            lambda: build.rows(ledger.db, "SELECT 1 FROM lease WHERE token > 1"),
            REPAIRED_S,
            what="the second relay leads",
        )
    entries: Any = live.xrange("tenure:live:stream:iterations")
    assert [key for key, _ in entries] == ["1-0", "2-0", "3-0"]
    with ledger.db.transaction() as session:
        assert [event.seq for event in order.after(session, 0)] == [1, 2, 3]
    assert len(crashes(env)) == 1
