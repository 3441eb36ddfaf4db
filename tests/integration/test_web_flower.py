"""Flower behind our login: a real Flower process with its own password, seen through the proxy."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import services
from tests.support.waiting import until
from tests.support.web import EMAIL, PASSWORD, Web, free_port


@pytest.fixture(scope="module")
def flower(web: Web, valkey_server) -> Iterator[Web]:
    port = free_port()
    environment = services.environment(
        TENURE_DATABASE_URL=web.db.url,
        TENURE_BROKER_URL=valkey_server.url(5),
        TENURE_DATA_DIR=str(web.folder),
        FLOWER_BASIC_AUTH="tenure:between us",
    )
    command = [sys.executable, "-m", "celery", "-A", "tasks", "flower", "--address=127.0.0.1",
               f"--port={port}", "--url_prefix=flower"]  # fmt: skip
    with Path(os.devnull).open("wb") as nowhere:
        process = subprocess.Popen(
            command, cwd=services.ROOT, env=dict(environment), stdout=nowhere, stderr=nowhere
        )
    stack = {"flower": {"port": port, "user": "tenure", "password": "between us"}}
    (web.folder / "stack.json").write_text(json.dumps(stack))
    try:
        until(lambda: web.call("GET", "/flower/workers").status == 200, 120, what="Flower answers")
        yield web
    finally:
        (web.folder / "stack.json").unlink()
        process.terminate()
        process.wait(60)


def cookie(web: Web) -> dict[str, str]:
    given = {"email": EMAIL, "password": PASSWORD}
    answer = web.call("POST", "/auth/login", role=None, json=given)
    return {"Cookie": answer.headers["Set-Cookie"].split(";")[0]}


def test_nobody_sees_flower_without_a_login(flower: Web):
    for path in ("/flower/", "/flower/workers", "/flower/static/js/flower.js", "/flower/api/workers"):
        assert flower.call("GET", path, role=None).status == 401, path
    knows = {"Authorization": "Basic dGVudXJlOmJldHdlZW4gdXM="}
    assert flower.call("GET", "/flower/workers", role=None, headers=knows).status == 401


def test_the_session_cookie_and_a_bearer_open_it(flower: Web):
    page = flower.call("GET", "/flower/workers", role=None, headers=cookie(flower))
    assert page.status == 200
    assert b"Flower" in page.body
    assert page.headers["Set-Cookie"] is None
    assert flower.call("GET", "/flower/tasks", role="viewer").status == 200


def test_flower_has_a_policy_of_its_own_that_lets_no_inline_script_in(flower: Web):
    policy = flower.call("GET", "/flower/workers").headers["Content-Security-Policy"]
    scripts = next(part for part in policy.split(";") if "script-src" in part)
    assert "'unsafe-inline'" not in scripts
    assert "'sha256-" in scripts, "only the one line that sets the refresh"


def test_the_task_table_is_read_by_get(flower: Web):
    script = flower.call("GET", "/flower/static/js/flower.js").body.decode()
    assert re.search(r"type: 'GET',\s*url: url_prefix\(\) \+ '/tasks/datatable'", script)
    table = flower.call(
        "GET", "/flower/tasks/datatable?draw=1&start=0&length=10&order[0][column]=0&columns[0][data]=name"
    )
    assert table.status == 200
    assert table.json["draw"] == 1


def test_flower_cannot_be_used_to_change_anything(flower: Web):
    for path in ("/flower/api/task/apply/tenure.expiry", "/flower/api/worker/shutdown/x"):
        answer = flower.call("POST", path, role=None, headers=cookie(flower), json={})
        assert answer.status == 405, path
        assert flower.call("POST", path, json={}).status == 405


@pytest.mark.parametrize("path", ["metrics", "healthcheck", "x/../metrics", "%2e/metrics", "metrics/"])
def test_its_figures_are_blocked(flower: Web, path: str):
    assert flower.call("GET", f"/flower/{path}").status == 404


@pytest.mark.parametrize("path", ["/flower/metrics%3Fx", "/flower/healthcheck%3Fx=1", "/flower/metrics%23x"])
def test_an_escaped_address_leads_past_no_block(flower: Web, path: str):
    answer = flower.call("GET", path)
    assert answer.status == 404
    assert b"flower_" not in answer.body


@pytest.mark.parametrize("path", ["/flower/%C3%A9", "/flower/%ff", "/flower/a%0d%0aX-Y:%20z", "/flower/%00"])
def test_odd_addresses_are_unknown_and_no_fault(flower: Web, path: str):
    assert flower.call("GET", path).status in {400, 404}
