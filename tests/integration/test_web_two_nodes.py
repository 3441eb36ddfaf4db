"""Limits of users and addresses hold over all web processes together."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tenure.embedded.postgres import Postgres
from tenure.embedded.valkey import Valkey
from tests.support import services
from tests.support import web as web_support
from tests.support.sockets import Client
from tests.support.waiting import until
from tests.support.web import Web

LIMITS = {**web_support.OFF, "ws_open_per_user": 3, "ws_open_per_address": 8, "run_per_min": 3}
KEY = "a key for tests that is long enough"


@contextlib.contextmanager
def another(first: Web, folder: Path, *, live_url: str, broker_url: str) -> Iterator[Web]:
    """A second process of the same install."""
    folder.mkdir()
    port = web_support.free_port()
    environment = services.environment(
        TENURE_DATABASE_URL=first.db.url,
        TENURE_BROKER_URL=broker_url,
        TENURE_LIVE_URL=live_url,
        TENURE_DATA_DIR=str(folder),
        TENURE_SECRET_KEY=KEY,
        TENURE_LIMITS=json.dumps(LIMITS),
    )
    command = [sys.executable, "-m", "gunicorn", "-c", "web/gunicorn.conf.py", "--bind", f"127.0.0.1:{port}"]
    log_file = folder / "web.log"
    with log_file.open("wb") as log:
        process = subprocess.Popen(command, cwd=services.ROOT, env=dict(environment), stdout=log, stderr=log)
    web = Web(port, first.db, process, log_file, folder, first.keys, first.ids)
    try:
        until(lambda: web_support._answers(web), 60, what="the second web process answers")
        yield web
    finally:
        web_support.stop(web)


@pytest.fixture(scope="module")
def urls(valkey_server: Valkey) -> dict[str, str]:
    return {"broker_url": valkey_server.url(11), "live_url": valkey_server.url(12)}


@pytest.fixture(scope="module")
def nodes(
    postgres: Postgres,
    template_database: str,
    urls: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Web, Web]]:
    folder = tmp_path_factory.mktemp("nodes")
    with (
        services.fresh_database(postgres, template=template_database) as database_url,
        web_support.running(
            folder,
            database_url=database_url,
            broker_url=urls["broker_url"],
            live_url=urls["live_url"],
            TENURE_LIMITS=json.dumps(LIMITS),
        ) as first,
        another(first, folder / "second", **urls) as second,
    ):
        yield first, second


@pytest.fixture
def guests() -> Iterator[list[Client]]:
    clients: list[Client] = []
    yield clients
    for one in clients:
        one.close()


def admitted(guests: list[Client], web: Web, role: str = "admin") -> bool:
    """Whether a new connection of this principal is let in; one that is stays open."""
    client = Client(web)
    client.send(type="auth", token=web.key(role))
    while True:
        opcode, data = client.socket.recv_data()
        if opcode != 1:
            assert int.from_bytes(data[:2], "big") == 4029, data
            client.close()
            return False
        if json.loads(data)["event"] == "authenticated":
            guests.append(client)
            return True


def test_a_user_has_so_many_connections_over_all_nodes(nodes, guests):
    first, second = nodes
    assert [admitted(guests, web) for web in (first, second, first)] == [True] * 3
    assert [admitted(guests, web) for web in (first, second)] == [False] * 2
    assert admitted(guests, second, "viewer"), "others are not held up"
    guests.pop(1).close()
    until(lambda: admitted(guests, first), what="one that left makes room on the other node")
    assert not admitted(guests, second)


def test_an_address_has_so_many_connections_over_all_nodes(nodes, guests):
    # Each user may have three; who did not sign in would be let go after a while.
    for number, role in enumerate(["admin"] * 3 + ["operator"] * 3 + ["viewer"] * 2):
        let_in = partial(admitted, guests, nodes[number % 2], role)
        until(let_in, what="the connections of the test before are gone")
    assert len(guests) == 8
    for web in nodes:
        refused = Client(web)
        assert refused.close_code() == 4029
        assert [frame["event"] for frame in refused.seen] == []
        refused.close()


def test_when_valkey_forgets_the_limit_holds_again_soon(nodes, guests, valkey_server):
    first, second = nodes
    for web in (first, second, second):
        until(partial(admitted, guests, web, "operator"), what="those of the test before are gone")
    client = valkey_server.connect(12)
    client.flushdb()
    client.close()
    # Each node writes its shares anew with its next sign of life; until then each goes by its own share.
    until(lambda: not admitted(guests, first, "operator"), 30)
    assert len(guests) <= 2 + 3


def test_a_node_that_died_counts_no_more(nodes, guests, urls, tmp_path):
    first, _ = nodes
    with another(first, tmp_path / "third", **urls) as third:
        for _ in range(3):
            until(partial(admitted, guests, third, "viewer"), what="those of the test before are gone")
        assert not admitted(guests, first, "viewer")
        os.kill(third.process.pid, signal.SIGKILL)
        os.killpg(os.getpgid(third.process.pid), 0)
        third.process.wait(10)
        until(lambda: admitted(guests, first, "viewer"), 60, what="its shares end with its sign of life")


def test_without_valkey_a_node_goes_by_its_own_share(nodes, guests, urls, tmp_path):
    first, _ = nodes
    with another(
        first, tmp_path / "alone", live_url="redis://127.0.0.1:1/0", broker_url=urls["broker_url"]
    ) as alone:
        assert [admitted(guests, alone) for _ in range(4)] == [True, True, True, False]


def test_runs_are_budgeted_for_a_user_over_all_nodes_and_both_ways(nodes, guests):
    first, second = nodes
    until(lambda: admitted(guests, second, "operator"))  # before the minute of the budget begins
    socket = guests[-1]
    assert first.call("POST", "/jobs/canary/runs", role="operator", json={}).status == 202
    assert second.call("POST", "/jobs/canary/runs", role="operator", json={}).status == 202
    assert socket.ask(type="run", job="canary", key="k1")["event"] == "ack"
    refused = socket.ask(type="run", job="canary", key="k2")
    assert (refused["event"], refused["code"]) == ("error", "throttled")
    for web in nodes:
        answer = web.call("POST", "/jobs/canary/runs", role="operator", json={})
        assert answer.status == 429
        assert int(answer.headers["Retry-After"]) >= 1
    assert first.call("POST", "/jobs/canary/runs", role="admin", json={}).status == 202
