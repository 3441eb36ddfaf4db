"""Queues over HTTP and on the command line: what waits, how long due work waited; and without a broker."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tenure.embedded.postgres import Postgres
from tenure.embedded.valkey import Valkey
from tenure.iterations import ledger, schedules
from tenure.iterations.catalog import catalog
from tenure.iterations.ledger import Caller
from tenure.iterations.queues import KEY_PREFIX
from tenure.kit.db import StatementDoor
from tenure.settings import Settings
from tests.support import services
from tests.support import web as web_support
from tests.support.web import Web

KNOWN = catalog(Settings())
_BROKER = 5  # the Valkey database that the module's web process has as its broker


@pytest.fixture
def door(web: Web) -> Iterator[StatementDoor]:
    door = StatementDoor(web.db.url, application="tenure-test")
    schedules.seed(door, KNOWN.values())
    door.run("UPDATE schedule SET paused = false, next_due_at = clock_timestamp() + interval '1 hour'")
    yield door
    door.close()


@pytest.fixture
def broker(valkey_server: Valkey, web: Web) -> Iterator[str]:
    """Two messages wait in queue `default`."""
    with closing(valkey_server.connect(_BROKER)) as client:
        client.delete(f"{KEY_PREFIX}default")
        client.rpush(f"{KEY_PREFIX}default", "one", "two")
        yield valkey_server.url(_BROKER)
        client.delete(f"{KEY_PREFIX}default")


def slot_due(web: Web, door: StatementDoor, seconds_ago: int, scope: str) -> str:
    slot: str = web.call("POST", "/jobs/sleep/runs", json={"scope": scope}).json["slot_id"]
    door.run(
        "UPDATE slot SET due_at = clock_timestamp() - make_interval(secs => %s) WHERE id = %s",
        [seconds_ago, slot],
    )
    return slot


def shown(web: Web) -> dict[str, dict[str, Any]]:
    return {one["queue"]: one for one in web.call("GET", "/queues", role="viewer").json["items"]}


def tenure(*arguments: str, database: str, broker: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tenure", *arguments, "--data-dir", str(folder)],
        cwd=services.ROOT,
        env=services.environment(TENURE_DATABASE_URL=database, TENURE_BROKER_URL=broker),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_queue_shows_what_waits_how_long_due_work_waited_and_who_is_paused(
    web: Web, door: StatementDoor, broker: str
):
    waiting = slot_due(web, door, 300, "ok:1")
    started = slot_due(web, door, 40, "ok:2")
    caller = Caller(owner=f"owner-{started}", node_id="node", worker="worker@here", pid=7)
    assert ledger.start(door, slot_id=started, attempt=1, caller=caller, deadline_s=20) is not None
    web.call("POST", "/schedules/expiry/pause", role="operator", json={"reason": "by hand"})
    # Messages of the requests above went to the broker as well: only ours are counted from here.
    queues = shown(web)
    assert set(queues) == {job.queue for job in KNOWN.values()}
    default = queues["default"]
    assert default["depth"] >= 2
    assert default["oldest_s"] >= 300
    # One START in five minutes: it came 40 s after its due time.
    assert 40 <= default["wait_p95_s"] < 300
    assert (default["paused"], default["paused_jobs"]) == (True, ["expiry"])
    assert (queues["payments"]["wait_p95_s"], queues["payments"]["paused"]) == (None, False)

    said = tenure("queues", "--json", database=web.db.url, broker=broker, folder=web.folder)
    assert said.returncode == 0, said.stderr
    items = {one["queue"]: one for one in json.loads(said.stdout)["items"]}
    assert items["default"].keys() == default.keys()
    assert items["default"]["wait_p95_s"] == default["wait_p95_s"]
    table = tenure("queues", database=web.db.url, broker=broker, folder=web.folder)
    assert "default" in table.stdout
    assert "expiry" in table.stdout
    assert web.call("GET", f"/slots/{waiting}").json["state"] == "pending"


def test_without_a_broker_nobody_is_told_a_depth_and_nothing_is_called_a_fault(
    web: Web, valkey_server: Valkey, postgres: Postgres, template_database: str, tmp_path: Path
):
    nowhere = f"redis://127.0.0.1:{web_support.free_port()}/0"
    with (
        services.fresh_database(postgres, template=template_database) as database,
        web_support.running(
            tmp_path, database_url=database, broker_url=nowhere, live_url=valkey_server.url(_BROKER + 1)
        ) as lonely,
    ):
        answer = lonely.call("GET", "/queues", role="viewer")
        assert (answer.status, answer.json["code"]) == (503, "unavailable")
        assert answer.headers["Retry-After"]
        assert not [line for line in lonely.log() if line["level"] == "error"]
        said = tenure("queues", database=database, broker=nowhere, folder=tmp_path)
        assert (said.returncode, said.stdout) == (3, "")
        assert "broker" in said.stderr
        assert "Traceback" not in said.stderr


def test_a_command_that_there_is_not_is_answered_with_those_that_are_like_it(tmp_path: Path):
    for given, meant in (("schedules", "schedule"), ("iteration", "iterations"), ("verfy", "verify")):
        done = tenure(given, database="postgresql://nowhere/x", broker="redis://nowhere/0", folder=tmp_path)
        assert done.returncode == 2
        assert f"'{meant}'" in done.stderr


def test_what_is_piped_is_never_shortened_and_nothing_in_it_is_taken_for_markup(
    web: Web, door: StatementDoor, broker: str
):
    slot = slot_due(web, door, 1, "ok:0.25 [/x] :smile: [red]")
    done = tenure("slots", "--limit", "200", database=web.db.url, broker=broker, folder=web.folder)
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if slot in line]
    assert "ok:0.25 [/x] :smile: [red]" in line
    assert "…" not in done.stdout


def test_a_reason_of_a_skip_that_there_is_not_is_a_usage_error(web: Web, broker: str):
    done = tenure("slots", "--reason", "nonsense", database=web.db.url, broker=broker, folder=web.folder)
    assert done.returncode == 2
    assert "undelivered" in done.stderr
    assert web.call("GET", "/slots?reason=nonsense").status == 422
    assert web.call("GET", "/slots?reason=undelivered").status == 200
