"""Schedules and iterations over HTTP, socket and command line: one act, one audit entry, one event."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from tenure.events import order
from tenure.iterations import ledger, schedules
from tenure.iterations.catalog import catalog
from tenure.iterations.ledger import Caller, EndedBy, Outcome
from tenure.kit.db import StatementDoor
from tenure.settings import Settings
from tests.support import services
from tests.support.sockets import client
from tests.support.web import Web

KNOWN = catalog(Settings())


@pytest.fixture(scope="module")
def database(web: Web) -> str:
    return web.db.url


@pytest.fixture
def door(database: str):
    door = StatementDoor(database, application="tenure-test")
    schedules.seed(door, KNOWN.values())
    # Each test finds the schedules as an install has them, due in an hour.
    door.run(
        "UPDATE schedule SET every_s = NULL, cron = NULL, timezone = 'UTC', enabled = true, paused = false, "
        "paused_until = NULL, pause_reason = NULL, paused_by = NULL, "
        "next_due_at = clock_timestamp() + interval '1 hour'"
    )
    door.run("DELETE FROM quarantine")
    yield door
    door.close()


def audits(web: Web, job: str) -> list[dict[str, Any]]:
    return web.call("GET", f"/audit?object={job}").json["items"]


def told(door: StatementDoor, job: str) -> list[str]:
    rows = door.run("SELECT type FROM event WHERE subject = %s ORDER BY n", [f"schedule:{job}"])
    return [row["type"] for row in rows]


def stands(web: Web, job: str) -> dict[str, Any]:
    return web.call("GET", f"/schedules/{job}", role="viewer").json


# -- over HTTP --------------------------------------------------------------------------------------------


def test_a_pause_names_who_why_and_until_when_and_a_resume_ends_it(web: Web, door: StatementDoor):
    before, said = len(audits(web, "expiry")), len(told(door, "expiry"))
    until = (datetime.now(UTC) + timedelta(hours=2)).isoformat()
    answer = web.call(
        "POST", "/schedules/expiry/pause", role="operator", json={"reason": "moving house", "until": until}
    )
    assert answer.status == 200
    shown = stands(web, "expiry")
    assert (shown["paused"], shown["pause_reason"]) == (True, "moving house")
    assert (shown["paused_by_name"], shown["overdue_s"]) == ("test operator", None)
    assert datetime.fromisoformat(shown["paused_until"]) == datetime.fromisoformat(until)
    assert web.call("POST", "/schedules/expiry/resume", role="operator").json["paused"] is False
    resumed, paused = audits(web, "expiry")[: len(audits(web, "expiry")) - before]
    assert (paused["action"], resumed["action"]) == ("schedule.paused", "schedule.resumed")
    assert (paused["before"]["paused"], paused["after"]["paused"]) == (False, True)
    assert (paused["reason"], paused["actor"][:4]) == ("moving house", "key:")
    assert (resumed["before"]["paused"], resumed["after"]["paused"]) == (True, False)
    assert told(door, "expiry")[said:] == ["schedule.paused", "schedule.resumed"]


def test_an_edit_says_what_stood_before_and_what_stands_then(web: Web, door: StatementDoor):
    before = len(audits(web, "reminders"))
    given = {"cron": "0 3 * * *", "timezone": "Europe/Berlin"}
    shown = web.call("PATCH", "/schedules/reminders", role="operator", json=given).json
    assert (shown["every_s"], shown["cron"]) == (None, "0 3 * * *")
    assert shown["in_words"] == "at 03:00 every day, Europe/Berlin"
    shown = web.call("PATCH", "/schedules/reminders", role="operator", json={"every_s": 150}).json
    assert (shown["every_s"], shown["cron"], shown["in_words"]) == (150, None, "every 2 min 30 s")
    # Null gives it back to the catalog.
    shown = web.call("PATCH", "/schedules/reminders", role="operator", json={"every_s": None}).json
    assert (shown["every_s"], shown["default_every_s"]) == (30, 30)
    entries = audits(web, "reminders")
    latest = entries[: len(entries) - before]
    assert [entry["action"] for entry in latest] == ["schedule.changed"] * 3
    assert (latest[1]["before"]["cron"], latest[1]["after"]["every_s"]) == ("0 3 * * *", 150)


@pytest.mark.parametrize(
    ("path", "given", "field"),
    [
        ("", {"cron": "61 * * * *"}, "cron"),
        ("", {"cron": "1--100000000 * * * *"}, "cron"),
        ("", {"cron": "* " * 60}, "cron"),
        ("", {"cron": "0 0 * * *", "timezone": "Mars/Olympus"}, "timezone"),
        ("", {"timezone": "Mars/Olympus"}, "timezone"),
        ("", {"every_s": 0}, "every_s"),
        ("", {"every_s": 1e9}, "every_s"),
        ("", {"every_s": 5, "cron": "0 0 * * *"}, "cron"),
        ("", {"colour": "red"}, "colour"),
        ("/pause", {"reason": ""}, "reason"),
        ("/pause", {"reason": "   "}, "reason"),
        ("/pause", {"reason": "x", "until": "2020-01-01T00:00:00Z"}, "until"),
        ("/pause", {"reason": "x", "until": "tomorrow"}, "until"),
        ("/pause", {}, "reason"),
    ],
)
def test_what_is_wrong_is_named_by_its_field_and_changes_nothing(
    web: Web, door: StatementDoor, path: str, given: dict[str, Any], field: str
):
    before, entries = door.run("SELECT * FROM schedule ORDER BY job"), len(audits(web, "expiry"))
    method = "POST" if path else "PATCH"
    answer = web.call(method, f"/schedules/expiry{path}", role="operator", json=given)
    assert answer.status == 422, answer.json
    assert [error["field"] for error in answer.json["errors"]] == [field]
    assert door.run("SELECT * FROM schedule ORDER BY job") == before
    assert len(audits(web, "expiry")) == entries


def test_a_viewer_sees_and_changes_nothing_over_any_way(web: Web, door: StatementDoor):
    before = door.run("SELECT * FROM schedule ORDER BY job")
    for method, path, given in (
        ("PATCH", "/schedules/expiry", {"every_s": 5}),
        ("POST", "/schedules/expiry/pause", {"reason": "x"}),
        ("POST", "/schedules/expiry/resume", None),
        ("POST", "/jobs/expiry/runs", {}),
    ):
        assert web.call(method, path, role="viewer", json=given).status == 403
    with client(web, "viewer") as it:
        answer = it.ask(type="schedule", job="expiry", action="pause", reason="x")
        assert (answer["event"], answer["code"]) == ("error", "forbidden")
    assert web.call("GET", "/schedules/expiry", role="viewer").status == 200
    assert web.call("GET", "/schedules/expiry/preview", role="viewer").status == 200
    assert door.run("SELECT * FROM schedule ORDER BY job") == before


def test_a_job_that_runs_on_request_only_has_no_schedule_but_may_leave_quarantine(
    web: Web, door: StatementDoor
):
    assert web.call("GET", "/schedules/sleep").status == 404
    assert web.call("PATCH", "/schedules/sleep", json={"every_s": 5}).status == 404
    assert web.call("POST", "/schedules/sleep/pause", json={"reason": "x"}).status == 404
    assert web.call("GET", "/schedules/nothing/preview").status == 404
    door.run("INSERT INTO quarantine (job, scope, reason) VALUES ('sleep', 'kill', 'test')")
    job = next(job for job in web.call("GET", "/jobs").json["items"] if job["name"] == "sleep")
    assert [held["scope"] for held in job["quarantine"]] == ["kill"]
    assert web.call("POST", "/schedules/sleep/resume").json["quarantined"] is False
    assert door.run("SELECT 1 FROM quarantine") == []
    assert audits(web, "sleep")[0]["before"]["quarantined"] is True


def test_a_preview_counts_as_the_scheduler_does_over_daylight_saving(web: Web, door: StatementDoor):
    def preview(query: str) -> list[str]:
        answer = web.call("GET", f"/schedules/expiry/preview?{query}", role="viewer")
        assert answer.status == 200, answer.json
        return [due["local"] for due in answer.json["due"]]

    berlin = "cron=30+2+*+*+*&timezone=Europe/Berlin&count=3"
    # 02:30 does not exist on 29 March 2026, and comes twice on 25 October.
    spring = preview(f"{berlin}&after=2026-03-28T00:00:00Z")
    assert spring[0] == "2026-03-28T02:30:00+01:00"
    assert spring[1].startswith("2026-03-29T03:")
    assert spring[2] == "2026-03-30T02:30:00+02:00"
    autumn = preview(f"{berlin}&after=2026-10-24T12:00:00Z")
    assert [moment[:10] for moment in autumn] == ["2026-10-25", "2026-10-26", "2026-10-27"]
    every = preview("every_s=1800&count=2&after=2026-03-29T00:30:00Z&timezone=Europe/Berlin")
    assert every == ["2026-03-29T03:00:00+02:00", "2026-03-29T03:30:00+02:00"]


def test_a_preview_names_what_is_wrong_and_changes_nothing(web: Web, door: StatementDoor):
    before = door.run("SELECT * FROM schedule ORDER BY job")
    for query, field in (
        ("cron=99+*+*+*+*", "cron"),
        ("cron=*+*+*+*+*&timezone=Mars", "timezone"),
        ("every_s=0", "every_s"),
        ("count=0", "count"),
        ("after=9999-12-31T00:00:00Z", "after"),
        ("after=soon", "after"),
    ):
        answer = web.call("GET", f"/schedules/expiry/preview?{query}")
        assert (answer.status, [error["field"] for error in answer.json["errors"]]) == (422, [field])
    assert door.run("SELECT * FROM schedule ORDER BY job") == before


def test_the_due_times_of_a_pause_are_accounted_for_when_the_rhythm_changes_in_it(
    web: Web, door: StatementDoor
):
    web.call("POST", "/schedules/retention/pause", json={"reason": "test"})
    # Three due times ago: 300 s is the catalog's period.
    door.run(
        "UPDATE schedule SET next_due_at = clock_timestamp() - interval '700 seconds' WHERE job = 'retention'"
    )
    web.call("PATCH", "/schedules/retention", json={"every_s": 3600})
    (skipped,) = web.call("GET", "/slots?job=retention").json["items"]
    assert (skipped["state"], skipped["reason"], skipped["count"]) == ("skipped", "paused", 3)
    shown = stands(web, "retention")
    assert (shown["paused"], shown["every_s"]) == (True, 3600)
    assert datetime.fromisoformat(shown["next_due_at"]) > datetime.fromisoformat(shown["updated_at"])


# -- over the socket --------------------------------------------------------------------------------------


def test_the_socket_pauses_edits_and_resumes_as_the_api_does(web: Web, door: StatementDoor):
    entries = len(audits(web, "activation"))
    with client(web, "operator") as it:
        paused = it.ask(type="schedule", job="activation", action="pause", reason="by wire")
        assert paused["event"] == "ack", paused
        assert (paused["result"]["paused"], paused["result"]["pause_reason"]) == (True, "by wire")
        edited = it.ask(type="schedule", job="activation", action="edit", cron="*/5 * * * *")
        assert edited["result"]["in_words"] == "every fifth minute of every hour, UTC"
        resumed = it.ask(type="schedule", job="activation", action="resume")
        assert resumed["result"]["paused"] is False
    latest = audits(web, "activation")
    actions = [entry["action"] for entry in latest[: len(latest) - entries]]
    assert actions == ["schedule.resumed", "schedule.changed", "schedule.paused"]
    assert latest[0]["actor"].startswith("key:")


@pytest.mark.parametrize(
    ("frame", "code", "field"),
    [
        ({"job": "expiry", "action": "edit", "cron": "nonsense"}, "invalid", "cron"),
        ({"job": "expiry", "action": "edit", "every_s": "5"}, "invalid", "every_s"),
        ({"job": "expiry", "action": "edit"}, "invalid", None),
        ({"job": "expiry", "action": "pause"}, "invalid", "reason"),
        ({"job": "expiry", "action": "stop"}, "invalid", "action"),
        ({"job": "expiry", "action": ["pause"]}, "invalid", "action"),
        ({"job": 5, "action": "resume"}, "invalid", "job"),
        ({"job": "expiry", "action": "resume", "key": ""}, "invalid", "key"),
        ({"job": "nothing", "action": "resume"}, "not_found", None),
        ({"job": "sleep", "action": "pause", "reason": "x"}, "not_found", None),
    ],
)
def test_the_socket_answers_what_is_wrong_once_and_changes_nothing(
    web: Web, door: StatementDoor, frame: dict[str, Any], code: str, field: str | None
):
    before = door.run("SELECT * FROM schedule ORDER BY job")
    with client(web, "operator") as it:
        answer = it.ask(type="schedule", **frame)
        assert (answer["event"], answer["code"]) == ("error", code), answer
        assert [error["field"] for error in answer.get("errors", [])] == ([field] if field else [])
    assert door.run("SELECT * FROM schedule ORDER BY job") == before


def test_one_key_pauses_once_over_the_socket_and_over_http(web: Web, door: StatementDoor):
    entries = len(audits(web, "notices"))
    with client(web, "operator") as it:
        asked = {"type": "schedule", "job": "notices", "action": "pause", "reason": "once", "key": "k-1"}
        first, again = it.ask(**asked), it.ask(**asked)
        assert "duplicate" not in first
        assert (again["duplicate"], again["result"]) == (True, first["result"])
        other = it.ask(**{**asked, "reason": "another"})
        assert (other["event"], other["code"]) == ("error", "idempotency_conflict")
    answer = web.call(
        "POST",
        "/schedules/notices/pause",
        role="operator",
        json={"reason": "once"},
        headers={"Idempotency-Key": "k-1"},
    )
    assert (answer.headers["Idempotent-Replay"], answer.json) == ("true", first["result"])
    assert len(audits(web, "notices")) == entries + 1


def test_a_run_is_audited_once_whichever_way_it_was_asked_for(web: Web, door: StatementDoor):
    with client(web, "operator") as it:
        slot = it.ask(type="run", job="sleep", scope="ok:0", key="audited")["result"]["slot_id"]
        assert it.ask(type="run", job="sleep", scope="ok:0", key="audited")["duplicate"] is True
    again = web.call(
        "POST",
        "/jobs/sleep/runs",
        role="operator",
        json={"scope": "ok:0"},
        headers={"Idempotency-Key": "audited"},
    )
    assert again.json["slot_id"] == slot
    assert [entry["action"] for entry in audits(web, slot)] == ["job.run"]
    assert web.call("GET", f"/slots/{slot}").json["asked_by"] == "test operator"


# -- on the command line ----------------------------------------------------------------------------------


def tenure(web: Web, database: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tenure", "schedule", *arguments, "--data-dir", str(web.folder)],
        cwd=services.ROOT,
        env=dict(services.environment(TENURE_DATABASE_URL=database)),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_command_line_pauses_edits_previews_and_resumes(web: Web, database: str, door: StatementDoor):
    entries = len(audits(web, "webhooks"))

    def stands_then(*arguments: str) -> dict[str, Any]:
        done = tenure(web, database, *arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    paused = stands_then("pause", "webhooks", "--reason", "by hand", "--until", "2h")
    assert (paused["paused"], paused["paused_by_name"]) == (True, "cli")
    assert datetime.fromisoformat(paused["paused_until"]) > datetime.fromisoformat(paused["updated_at"])
    assert stands_then("resume", "webhooks")["paused"] is False
    edited = stands_then("edit", "webhooks", "--cron", "0 3 * * *", "--timezone", "Europe/Berlin")
    assert edited["in_words"] == "at 03:00 every day, Europe/Berlin"
    shown = stands_then("preview", "webhooks", "--every", "15m", "--count", "2")
    assert (shown["in_words"], len(shown["due"])) == ("every 15 min", 2)
    assert stands_then("edit", "webhooks", "--default")["every_s"] == 2
    assert stands_then("edit", "webhooks", "--disable")["enabled"] is False
    listed = stands_then("show")["items"]
    assert {item["job"] for item in listed} == {job.name for job in KNOWN.values() if job.every_s}
    assert "disabled" in tenure(web, database, "show", "webhooks").stdout
    latest = audits(web, "webhooks")
    assert {entry["actor"] for entry in latest[: len(latest) - entries]} == {"cli"}
    assert len(latest) == entries + 5


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("edit", "expiry", "--cron", "nonsense"), "nonsense"),
        (("edit", "expiry"), "nothing to change"),
        (("edit", "expiry", "--every", "5", "--cron", "* * * * *"), "not both"),
        (("edit", "expiry", "--default", "--every", "5"), "--default"),
        (("edit", "expiry", "--every", "soon"), "soon"),
        (("pause", "expiry", "--reason", "x", "--until", "2020-01-01T00:00:00Z"), "passed"),
        (("pause", "expiry"), "--reason"),
        (("pause", "sleep", "--reason", "x"), "on request"),
        (("show", "nothing"), "nothing"),
    ],
)
def test_the_command_line_says_what_is_wrong_and_exits_with_2(
    web: Web, database: str, door: StatementDoor, arguments: tuple[str, ...], said: str
):
    before = door.run("SELECT * FROM schedule ORDER BY job")
    done = tenure(web, database, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert door.run("SELECT * FROM schedule ORDER BY job") == before


def test_every_command_of_the_guide_works(web: Web, database: str, door: StatementDoor):
    guide = (services.ROOT / "docs/howto/change-a-schedule.md").read_text()
    lines = [
        line for block in re.findall(r"```sh\n(.*?)```", guide, re.DOTALL) for line in block.splitlines()
    ]
    assert len(lines) >= 7
    for line in lines:
        program, command, *arguments = shlex.split(line)
        assert (program, command) == ("tenure", "schedule")
        done = tenure(web, database, *arguments)
        assert done.returncode == 0, (line, done.stderr)
    assert stands(web, "reminders")["cron"] == "0 9 * * 1-5"


# -- one iteration ----------------------------------------------------------------------------------------


def run_once(web: Web, door: StatementDoor, *, outcome: Outcome, by: EndedBy, error: str | None) -> str:
    slot = web.call("POST", "/jobs/sleep/runs", json={"scope": "ok:0"}).json["slot_id"]
    caller = Caller(owner=f"owner-{slot}", node_id="node", worker="worker@here", pid=7)
    started = ledger.start(door, slot_id=slot, attempt=1, caller=caller, deadline_s=20)
    assert started is not None
    assert started.state == "started"
    ended = ledger.end(
        door, owner=caller.owner, outcome=outcome, ended_by=by, error_type=error, error_message="masked"
    )
    assert ended is not None
    return started.iteration_id


def number(web: Web) -> None:
    with web.db.transaction() as session:
        order.number_pending(session)


def test_an_iteration_shows_its_slot_limits_records_and_attempts(web: Web, door: StatementDoor):
    iteration = run_once(web, door, outcome=Outcome.KILLED, by=EndedBy.PARENT, error="WorkerLostError")
    # Before the relay has placed them the records are there, without a place in the order.
    waiting = web.call("GET", f"/iterations/{iteration}", role="viewer").json["records"]
    assert [(record["type"], record["seq"]) for record in waiting] == [
        ("iteration.started", None),
        ("iteration.ended", None),
    ]
    number(web)
    shown = web.call("GET", f"/iterations/{iteration}", role="viewer").json
    assert (shown["outcome"], shown["ended_by"], shown["error_type"]) == (
        "killed",
        "parent",
        "WorkerLostError",
    )
    started, ended = shown["records"]
    assert (started["type"], ended["type"]) == ("iteration.started", "iteration.ended")
    assert started["event_id"] == waiting[0]["event_id"]
    assert 0 < started["seq"] < ended["seq"]
    assert (started["data"]["worker"], ended["data"]["ended_by"]) == ("worker@here", "parent")
    assert shown["limits"]["soft_s"] == 5
    assert shown["limits"]["hard_s"] == 10
    assert shown["limits"]["deadline_at"] > shown["started_at"]
    assert shown["task_id"] == f"{shown['slot_id']}.1"
    assert (shown["slot"]["origin"], shown["slot"]["asked_by"]) == ("run", "test admin")
    assert [attempt["id"] for attempt in shown["attempts"]] == [iteration]
    assert shown["effects"] == {"count": 0, "items": []}


def test_an_iteration_shows_what_it_did_to_subscriptions_and_nothing_of_others(web: Web, door: StatementDoor):
    iteration = run_once(web, door, outcome=Outcome.OK, by=EndedBy.CHILD, error=None)
    for of, subscription in ((iteration, "sub_1"), (iteration, None), ("itr_other", "sub_2")):
        door.run(
            "INSERT INTO event (id, type, subject, channels, subscription_id, iteration_id, data) "
            "VALUES (tenure_id('evt'), 'subscription.expired', 'x', '{}', %s, %s, '{}')",
            [subscription, of],
        )
    effects = web.call("GET", f"/iterations/{iteration}").json["effects"]
    assert effects["count"] == 1
    assert [(item["type"], item["subscription_id"]) for item in effects["items"]] == [
        ("subscription.expired", "sub_1")
    ]


def test_every_attempt_of_a_slot_is_listed_oldest_first(web: Web, door: StatementDoor):
    slot = web.call("POST", "/jobs/sleep/runs", json={"scope": "ok:1"}).json["slot_id"]
    ids = []
    for attempt in (1, 2):
        caller = Caller(owner=f"{slot}-{attempt}", node_id="node", worker="w", pid=1)
        started = ledger.start(
            door, slot_id=slot, attempt=attempt, caller=caller, deadline_s=20, max_attempts=2
        )
        assert started is not None
        ids.append(started.iteration_id)
        ledger.end(
            door,
            owner=caller.owner,
            outcome=Outcome.FAILED,
            ended_by=EndedBy.CHILD,
            error_type="ValueError",
        )
    shown = web.call("GET", f"/iterations/{ids[0]}").json
    assert [(one["id"], one["attempt"]) for one in shown["attempts"]] == [(ids[0], 1), (ids[1], 2)]
    assert {record["data"]["attempt"] for record in shown["records"]} == {1}
    assert (shown["max_attempts"], shown["slot"]["attempt"]) == (2, 2)


def test_jobs_show_their_newest_slots_with_how_each_went(web: Web, door: StatementDoor):
    iteration = run_once(web, door, outcome=Outcome.FAILED, by=EndedBy.CHILD, error="ValueError")
    door.run(
        "INSERT INTO slot (id, job, scope, due_at, origin, state, reason, expires_at) VALUES "
        "(tenure_id('slt'), 'sleep', 'x', clock_timestamp(), 'run', 'skipped', 'overlap', clock_timestamp())"
    )
    by_name = {job["name"]: job for job in web.call("GET", "/jobs?recent=3", role="viewer").json["items"]}
    strip = by_name["sleep"]["recent"]
    assert len(strip) <= 3
    assert (strip[-1]["state"], strip[-1]["reason"]) == ("skipped", "overlap")
    assert (strip[-2]["iteration_id"], strip[-2]["outcome"]) == (iteration, "failed")
    assert by_name["sleep"]["last_iteration"]["error_type"] == "ValueError"
    assert "recent" not in web.call("GET", "/jobs").json["items"][0]
    assert web.call("GET", "/jobs?recent=51").status == 422


def test_slots_can_be_asked_for_by_the_reason_of_their_skip(web: Web, door: StatementDoor):
    with web.db.transaction() as session:
        session.execute(
            text(
                "INSERT INTO slot (id, job, scope, due_at, origin, state, reason, expires_at) VALUES "
                "(tenure_id('slt'), 'canary', '', clock_timestamp(), 'schedule', 'skipped', 'undelivered', "
                "clock_timestamp())"
            )
        )
    found = web.call("GET", "/slots?state=skipped&reason=undelivered", role="viewer").json["items"]
    assert [(slot["job"], slot["reason"]) for slot in found] == [("canary", "undelivered")]
