"""A credential that ends closes its sockets on every node, and one that is renewed keeps them open."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from tenure.embedded.postgres import Postgres
from tenure.embedded.valkey import Valkey
from tenure.kit.valkey import connect
from tests.support import services
from tests.support.nodes import Nodes, nodes
from tests.support.sockets import Client
from tests.support.waiting import until
from tests.support.web import EMAIL, PASSWORD, Web

# Where the nodes hear of credentials that have ended.
CONTROL = "tenure:live:control"


@pytest.fixture(scope="module")
def deployed(
    postgres: Postgres,
    template_database: str,
    valkey_server: Valkey,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Nodes]:
    with services.fresh_database(postgres, template=template_database) as url:
        folder: Path = tmp_path_factory.mktemp("nodes")
        urls = {"broker_url": valkey_server.url(5), "live_url": valkey_server.url(6)}
        with nodes(folder, database_url=url, count=2, **urls) as made:
            yield made


def each(deployed: Nodes) -> list[Web]:
    """The same accounts, seen through each node."""
    return [dataclasses.replace(deployed.web, port=node.port) for node in deployed.running]


@contextlib.contextmanager
def on_each_node(deployed: Nodes, token: str) -> Iterator[list[Client]]:
    """A socket of this credential on every node."""
    made = [Client(web) for web in each(deployed)]
    try:
        for it in made:
            it.send(type="auth", token=token)
            it.until(event="authenticated")
        yield made
    finally:
        for it in made:
            it.close()


def signed_in(web: Web, email: str = EMAIL, password: str = PASSWORD) -> dict[str, str]:
    given = {"email": email, "password": password, "transport": "body"}
    tokens: dict[str, str] = web.call("POST", "/auth/login", role=None, json=given).json
    return tokens


@contextlib.contextmanager
def told_and_closed(deployed: Nodes, subject: str, sockets: list[Client]) -> Iterator[None]:
    """What happens in the block is told of the subject to all nodes, and closes these sockets.

    Nodes that were not told find it in the record a little later: that is another test's.
    """
    with contextlib.closing(connect(deployed.environment["TENURE_LIVE_URL"])) as live:
        heard: Any = live.pubsub()  # type: ignore[no-untyped-call]
        with contextlib.closing(heard):
            heard.subscribe(CONTROL)
            assert until(lambda: heard.get_message(timeout=1))["type"] == "subscribe"
            yield
            told = until(lambda: heard.get_message(timeout=1), what="the nodes are told")
            assert subject in json.loads(told["data"])["revoked"]
    for it in sockets:
        it.socket.settimeout(30)
        assert it.close_code() == 4001


def test_a_key_that_is_deleted_on_one_node_closes_its_sockets_on_both(deployed: Nodes):
    first, _second = each(deployed)
    key = first.call("POST", "/api-keys", json={"name": "brief", "role": "viewer"}).json
    with on_each_node(deployed, key["key"]) as sockets, told_and_closed(deployed, key["id"], sockets):
        assert first.call("DELETE", f"/api-keys/{key['id']}").status == 204


def test_signing_out_on_one_node_closes_the_sessions_sockets_on_both_and_no_others(deployed: Nodes):
    first, second = each(deployed)
    ours, others = signed_in(first), signed_in(second)
    session_id = ours["refresh_token"].removeprefix("tnr_").split(".")[0]
    with (
        on_each_node(deployed, ours["access_token"]) as sockets,
        on_each_node(deployed, others["access_token"]) as spared,
    ):
        with told_and_closed(deployed, session_id, sockets):
            given = {"refresh_token": ours["refresh_token"]}
            assert second.call("POST", "/auth/logout", role=None, json=given).status == 204
        for it in spared:
            assert it.ask(type="ping")["event"] == "ack"


def test_a_user_who_is_deleted_is_out_on_both_nodes(deployed: Nodes):
    first, _second = each(deployed)
    given = {"email": "brief@example.com", "password": "a passing long password", "role": "viewer"}
    made = first.call("POST", "/users", json=given)
    assert made.status == 201, made.json
    token = signed_in(first, given["email"], given["password"])["access_token"]
    with on_each_node(deployed, token) as sockets, told_and_closed(deployed, made.json["id"], sockets):
        assert first.call("DELETE", f"/users/{made.json['id']}").status == 204


def test_what_the_nodes_were_not_told_they_find_in_the_record(deployed: Nodes):
    first, second = each(deployed)
    key = first.call("POST", "/api-keys", json={"name": "silent", "role": "viewer"}).json
    given = {"email": "demoted@example.com", "password": "a passing long password", "role": "operator"}
    user = first.call("POST", "/users", json=given).json
    token = signed_in(second, given["email"], given["password"])["access_token"]
    with (
        on_each_node(deployed, key["key"]) as revoked,
        on_each_node(deployed, token) as demoted,
        on_each_node(deployed, first.key("viewer")) as spared,
    ):
        with deployed.web.db.transaction() as session:  # as when the live Valkey was away at that moment
            session.execute(
                text("UPDATE api_key SET revoked_at = clock_timestamp() WHERE id = :id"), {"id": key["id"]}
            )
            session.execute(text("UPDATE app_user SET role = 'viewer' WHERE id = :id"), {"id": user["id"]})
        for it in (*revoked, *demoted):
            it.socket.settimeout(30)
            assert it.close_code() == 4001
        for it in spared:
            assert it.ask(type="ping")["event"] == "ack"


def test_a_newer_token_is_taken_in_place_and_somebody_elses_is_not(deployed: Nodes):
    first, _second = each(deployed)
    tokens = signed_in(first)
    with on_each_node(deployed, tokens["access_token"]) as sockets:
        given = {"refresh_token": tokens["refresh_token"]}
        newer = first.call("POST", "/auth/refresh", role=None, json=given).json["access_token"]
        for it in sockets:
            assert it.ask(type="auth-refresh", token="rubbish")["code"] == "unauthenticated"
            assert it.ask(type="auth-refresh", token=first.key("admin"))["code"] == "forbidden"
            assert it.ask(type="auth-refresh")["code"] == "invalid"
            answer = it.ask(type="auth-refresh", token=newer)
            assert answer["result"]["expires_at"].endswith("Z")
            assert it.ask(type="subscribe", channels=["system"])["event"] == "ack", "the same socket goes on"
