"""Webhook endpoints and deliveries over the API."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sqlalchemy import text

from tenure.embedded.postgres import Postgres
from tenure.embedded.valkey import Valkey
from tenure.events import order
from tenure.events.append import NewEvent, append
from tenure.webhooks.fan_out import fan_out
from tests.support import services
from tests.support import web as web_support
from tests.support.web import Web

URL = "http://127.0.0.1:9/hook"


@pytest.fixture(autouse=True)
def no_endpoints_before(web: Web):
    with web.db.transaction() as session:
        session.execute(text("TRUNCATE webhook_endpoint, webhook_delivery, outbox"))


def add(web: Web, *types: str):
    answer = web.call("POST", "/webhook-endpoints", json={"url": URL, "types": list(types or ["*"])})
    assert answer.status == 201, answer.json
    return answer.json


def happen(web: Web, *types: str) -> list[str]:
    with web.db.transaction() as session:
        ids = append(session, [NewEvent(name, "invoice:inv_1", ()) for name in types])
    with web.db.transaction() as session:
        assert order.lead(session, holder="test", lease_s=600)
        order.number_pending(session)
        fan_out(session, limit=1000)
    return ids


def codes(answer) -> dict[str, str]:
    return {error["field"]: error["code"] for error in answer.json["errors"]}


def test_an_endpoint_is_added_shown_without_its_secret_and_deleted(web: Web):
    made = add(web, "invoice.*", "iteration.failed")
    secret = made.pop("secret")
    assert secret.startswith("whsec_")
    assert made["id"].startswith("whe_")
    assert (made["url"], made["types"], made["disabled_at"], made["failures"]) == (
        URL,
        ["invoice.*", "iteration.failed"],
        None,
        0,
    )
    listed = web.call("GET", "/webhook-endpoints", role="viewer")
    one = web.call("GET", f"/webhook-endpoints/{made['id']}", role="viewer")
    assert listed.json == {"items": [made], "next_cursor": None}
    assert one.json == made
    audit = web.call("GET", "/audit")
    assert "webhook_endpoint.create" in audit.body.decode()
    bare = secret.removeprefix("whsec_")
    for answer in (listed, one, audit, web.call("GET", "/webhook-deliveries")):
        assert bare not in answer.body.decode()
    assert bare not in web.log_file.read_text()
    assert web.call("DELETE", f"/webhook-endpoints/{made['id']}").status == 204
    assert web.call("DELETE", f"/webhook-endpoints/{made['id']}").status == 404
    assert web.call("GET", f"/webhook-endpoints/{made['id']}").status == 404


def test_a_repeated_creation_makes_one_endpoint_and_does_not_show_the_secret_again(web: Web):
    given = {"url": URL, "types": ["*"]}
    headers = {"Idempotency-Key": "one-endpoint-please"}
    first = web.call("POST", "/webhook-endpoints", json=given, headers=headers)
    second = web.call("POST", "/webhook-endpoints", json=given, headers=headers)
    assert (first.status, second.status) == (201, 409)
    assert second.json["code"] == "already_answered"
    assert len(web.call("GET", "/webhook-endpoints").json["items"]) == 1
    with web.db.transaction() as session:
        kept = session.execute(text("SELECT string_agg(coalesce(response, ''), '') FROM idempotency_key"))
        assert "whsec_" not in (kept.scalar() or "")


def test_only_admins_write_endpoints_and_operators_replay(web: Web):
    given = {"url": URL, "types": ["*"]}
    for role in ("viewer", "operator"):
        assert web.call("POST", "/webhook-endpoints", role=role, json=given).status == 403
    made = add(web)
    happen(web, "invoice.paid")
    [delivery] = web.call("GET", "/webhook-deliveries", role="viewer").json["items"]
    for role in ("viewer", "operator"):
        assert web.call("DELETE", f"/webhook-endpoints/{made['id']}", role=role).status == 403
        assert web.call("POST", f"/webhook-endpoints/{made['id']}/enable", role=role).status == 403
    assert web.call("POST", f"/webhook-deliveries/{delivery['id']}/replay", role="viewer").status == 403
    assert web.call("POST", f"/webhook-deliveries/{delivery['id']}/replay", role="operator").status == 200
    assert web.call("GET", "/webhook-endpoints", role=None).status == 401


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ({"url": "ftp://example.com", "types": ["*"]}, {"url": "url"}),
        ({"url": URL, "types": ["nonsense"]}, {"types.0": "unknown_type"}),
        ({"url": URL, "types": []}, {"types": "length"}),
        (
            {"url": "http://a:b@c.example/", "types": ["*", "*"]},
            {"url": "credentials", "types": "duplicate"},
        ),
    ],
)
def test_what_is_not_valid_is_refused_field_by_field(web: Web, given, wrong):
    answer = web.call("POST", "/webhook-endpoints", json=given)
    assert (answer.status, codes(answer)) == (422, wrong)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"url": URL},
        {"url": 5, "types": ["*"]},
        {"url": URL, "types": "*"},
        {"url": URL, "types": [1]},
        {"url": URL, "types": ["*"], "secret": "mine"},
        {"url": "http://a\u0000b/", "types": ["*"]},
    ],
)
def test_a_body_of_another_shape_is_refused(web: Web, given):
    assert web.call("POST", "/webhook-endpoints", json=given).status == 422


def test_deliveries_are_filtered_paged_and_replayed(web: Web):
    first, second = add(web, "invoice.*"), add(web, "payment.*")
    events = happen(web, "invoice.paid", "payment.seen", "invoice.voided")
    every = web.call("GET", "/webhook-deliveries").json["items"]
    assert len(every) == 3
    assert [one["id"] for one in every] == sorted((one["id"] for one in every), reverse=True)
    to_first = web.call("GET", f"/webhook-deliveries?endpoint={first['id']}").json["items"]
    assert {one["event_id"] for one in to_first} == {events[0], events[2]}
    [to_second] = web.call("GET", f"/webhook-deliveries?endpoint={second['id']}&state=pending").json["items"]
    assert (to_second["type"], to_second["attempts"], to_second["delivered_at"]) == ("payment.seen", 0, None)
    assert web.call("GET", "/webhook-deliveries?state=dead").json["items"] == []
    assert web.call("GET", "/webhook-deliveries?state=lost").status == 422
    page = web.call("GET", "/webhook-deliveries?limit=2").json
    rest = web.call("GET", f"/webhook-deliveries?limit=2&cursor={page['next_cursor']}").json
    assert [*page["items"], *rest["items"]] == every
    assert rest["next_cursor"] is None
    shown = web.call("POST", f"/webhook-deliveries/{to_second['id']}/replay", role="operator")
    assert (shown.status, shown.json["event_id"], shown.json["replays"]) == (200, events[1], 1)
    assert web.call("GET", f"/webhook-deliveries/{to_second['id']}").json == shown.json
    assert web.call("POST", "/webhook-deliveries/whd_none/replay").status == 404


def test_a_delivery_that_is_being_tried_or_whose_endpoint_is_off_is_not_replayed(web: Web):
    made = add(web)
    happen(web, "invoice.paid")
    [delivery] = web.call("GET", "/webhook-deliveries").json["items"]
    path = f"/webhook-deliveries/{delivery['id']}/replay"
    with web.db.transaction() as session:
        session.execute(
            text("UPDATE outbox SET lock_token = 'x', locked_until = clock_timestamp() + interval '1 min'")
        )
    answer = web.call("POST", path)
    assert (answer.status, answer.json["code"]) == (409, "in_progress")
    with web.db.transaction() as session:
        session.execute(
            text("UPDATE webhook_endpoint SET disabled_at = clock_timestamp(), disabled_reason = 'test'")
        )
    answer = web.call("POST", path)
    assert (answer.status, answer.json["code"]) == (409, "endpoint_disabled")
    enabled = web.call("POST", f"/webhook-endpoints/{made['id']}/enable")
    assert (enabled.status, enabled.json["disabled_at"]) == (200, None)


def test_in_production_private_addresses_are_refused(
    postgres: Postgres, template_database: str, valkey_server: Valkey, tmp_path: Path
):
    with (
        services.fresh_database(postgres, template=template_database) as database_url,
        web_support.running(
            tmp_path,
            database_url=database_url,
            broker_url=valkey_server.url(7),
            live_url=valkey_server.url(8),
            TENURE_ENV="production",
        ) as production,
    ):
        for url in (URL, "https://169.254.169.254/", "https://localhost/"):
            body = json.dumps({"url": url, "types": ["*"]}).encode()
            headers = {"Content-Type": "application/json"}
            answer = production.call("POST", "/webhook-endpoints", body=body, headers=headers)
            assert (answer.status, set(codes(answer))) == (422, {"url"})
        assert production.call("GET", "/webhook-endpoints").json["items"] == []
