"""Plans, customers and subscriptions over the API."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from tests.support.web import Web

_numbers = itertools.count(1)

PLAN: dict[str, Any] = {
    "code": "basic",
    "name": "Basic",
    "price": {"amount_minor": 999, "currency": "USD"},
    "interval": {"unit": "month", "count": 1},
    "trial_days": 7,
    "grace_hours": 48,
    "reminders": [{"stage": "d-3", "offset_hours": -72, "channels": ["email"]}],
    "auto_renew": False,
}


def _plan(web: Web, **changes: Any) -> str:
    code = f"plan-{next(_numbers)}"
    answer = web.call("POST", "/plans", json={**PLAN, "code": code, **changes})
    assert answer.status == 201, answer.json
    return code


def _customer(web: Web, **details: Any) -> dict[str, Any]:
    given = {"external_id": f"ext-{next(_numbers)}", "email": "a@example.test", **details}
    answer = web.call("POST", "/customers", role="operator", json=given)
    assert answer.status == 201, answer.json
    found: dict[str, Any] = answer.json
    return found


def _subscription(web: Web, *, trial: bool = False) -> dict[str, Any]:
    given = {"customer_id": _customer(web)["id"], "plan_code": _plan(web), "trial": trial}
    answer = web.call("POST", "/subscriptions", role="operator", json=given)
    assert answer.status == 201, answer.json
    found: dict[str, Any] = answer.json
    return found


def _codes(answer) -> dict[str, str]:
    return {error["field"]: error["code"] for error in answer.json["errors"]}


def test_a_plan_is_created_shown_and_changed_for_new_sales(web: Web):
    code = _plan(web)
    [shown] = [
        plan for plan in web.call("GET", "/plans", role="viewer").json["items"] if plan["code"] == code
    ]
    assert {name: shown[name] for name in PLAN if name != "code"} == {
        name: value for name, value in PLAN.items() if name != "code"
    }
    sold = web.call(
        "POST",
        "/subscriptions",
        json={"customer_id": _customer(web)["id"], "plan_code": code, "trial": False},
    ).json
    changed = web.call("PATCH", f"/plans/{code}", json={"price": {"amount_minor": 1, "currency": "EUR"}})
    assert (changed.status, changed.json["price"]) == (200, {"amount_minor": 1, "currency": "EUR"})
    assert web.call("GET", f"/subscriptions/{sold['id']}").json["plan"]["price"] == PLAN["price"]


def test_a_plan_names_everything_that_is_wrong_at_once(web: Web):
    stage = {"stage": "s", "offset_hours": 721, "channels": ["pigeon"]}
    wrong = {
        **PLAN,
        "code": "no spaces",
        "price": {"amount_minor": 0, "currency": "usd"},
        "interval": {"unit": "hour", "count": 0},
        "reminders": [stage, stage],
    }
    answer = web.call("POST", "/plans", json=wrong)
    assert answer.status == 422
    assert set(_codes(answer)) == {
        "code",
        "price.amount_minor",
        "price.currency",
        "interval.unit",
        "interval.count",
        "reminders.0.offset_hours",
        "reminders.0.channels",
        "reminders.1.stage",
        "reminders.1.offset_hours",
        "reminders.1.channels",
    }
    assert web.call("POST", "/plans", json={**PLAN, "colour": "red"}).status == 422
    assert web.call("PATCH", "/plans/none", json={}).status == 404
    assert web.call("PATCH", f"/plans/{_plan(web)}", json={"name": None}).status == 422


def test_a_code_and_an_external_id_are_taken_once(web: Web):
    code = _plan(web)
    assert web.call("POST", "/plans", json={**PLAN, "code": code}).status == 409
    taken = _customer(web)["external_id"]
    assert web.call("POST", "/customers", json={"external_id": taken}).status == 409
    other = _customer(web)["id"]
    assert web.call("PATCH", f"/customers/{other}", json={"external_id": taken}).status == 409


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"external_id": ""}, "external_id"),
        ({"external_id": "x", "email": "nobody"}, "email"),
        ({"external_id": "x", "email": "a@b.c\r\nBcc: x@y.z"}, "email"),
        ({"external_id": "x", "timezone": "Mars/Olympus"}, "timezone"),
        ({"external_id": "x", "telegram_chat_id": "me me"}, "telegram_chat_id"),
        ({"external_id": "x", "locale": "!"}, "locale"),
        ({}, "external_id"),
    ],
)
def test_a_customer_that_is_not_right_is_refused(web: Web, given, field):
    answer = web.call("POST", "/customers", json=given)
    assert (answer.status, set(_codes(answer))) == (422, {field})


def test_a_customer_is_found_by_its_external_id_and_changed(web: Web):
    made = _customer(web, telegram_chat_id=4711, timezone="Europe/Berlin")
    assert made["telegram_chat_id"] == "4711"
    page = web.call("GET", f"/customers?external_id={made['external_id']}", role="viewer").json
    assert page == {"items": [made], "next_cursor": None}
    changed = web.call("PATCH", f"/customers/{made['id']}", json={"email": None, "timezone": "UTC"}).json
    assert (changed["email"], changed["timezone"], changed["telegram_chat_id"]) == (None, "UTC", "4711")


def test_a_trial_is_entitled_at_once(web: Web):
    made = _subscription(web, trial=True)
    assert (made["status"], made["provisioning"]["desired"], made["holds"]) == ("trialing", "on", [])
    told = web.call("GET", f"/entitlements?customer={made['external_id']}", role="viewer").json
    assert (told["entitled"], told["access_until"]) == (True, made["access_until"])
    assert [one["id"] for one in told["subscriptions"]] == [made["id"]]
    assert web.call("GET", "/entitlements", role="viewer").status == 422


def test_actions_answer_with_the_subscription_and_with_409_where_they_are_not_allowed(web: Web):
    id_ = _subscription(web, trial=True)["id"]
    assert web.call("POST", f"/subscriptions/{id_}/pause", role="operator").json["status"] == "paused"
    refused = web.call("POST", f"/subscriptions/{id_}/pause", role="operator")
    assert (refused.status, refused.json["code"], refused.json["current"]) == (
        409,
        "illegal_transition",
        "paused",
    )
    assert web.call("POST", f"/subscriptions/{id_}/resume", role="operator").json["status"] == "trialing"
    flagged = web.call("POST", f"/subscriptions/{id_}/cancel", json={"at_period_end": True}).json
    assert (flagged["status"], flagged["cancel_at_period_end"]) == ("trialing", True)
    ended = web.call("POST", f"/subscriptions/{id_}/expire", json={"reason": "a test"}).json
    assert (ended["status"], ended["provisioning"]["desired"]) == ("expired", "off")
    assert web.call("POST", f"/subscriptions/{id_}/expire", json={"reason": ""}).status == 422


def test_extend_needs_a_key_and_a_repeat_extends_once(web: Web):
    made = _subscription(web, trial=True)
    path, body = f"/subscriptions/{made['id']}/extend", {"hours": 24, "reason": "goodwill"}
    assert web.call("POST", path, json=body).status == 400
    first = web.call("POST", path, json=body, headers={"Idempotency-Key": "once"})
    again = web.call("POST", path, json=body, headers={"Idempotency-Key": "once"})
    assert first.status == again.status == 200
    assert again.headers["Idempotent-Replay"] == "true"
    assert first.json == again.json
    assert web.call("GET", f"/subscriptions/{made['id']}").json["period_end"] == first.json["period_end"]


def test_roles_hold(web: Web):
    assert web.call("POST", "/plans", role="operator", json=PLAN).status == 403
    assert web.call("POST", "/customers", role="viewer", json={"external_id": "v"}).status == 403
    id_ = _subscription(web)["id"]
    assert web.call("POST", f"/subscriptions/{id_}/cancel", role="viewer", json={}).status == 403
    assert web.call("GET", f"/subscriptions/{id_}", role="viewer").status == 200


def test_the_timeline_names_the_operator(web: Web):
    made = _subscription(web, trial=True)
    page = web.call("GET", f"/subscriptions/{made['id']}/timeline?limit=2", role="viewer").json
    rest = web.call("GET", f"/subscriptions/{made['id']}/timeline?cursor={page['next_cursor']}").json
    whole = page["items"] + rest["items"]
    assert {entry["kind"] for entry in whole} == {"event", "notice", "operator"}
    [operator] = [entry for entry in whole if entry["kind"] == "operator"]
    assert operator["type"] == "subscription.create"
    assert set(whole[0]) >= {"ts", "kind", "type", "iteration_id", "worker", "data"}
    assert web.call("GET", "/subscriptions/sub_none/timeline").status == 404


def test_lists_filter_by_customer_and_status(web: Web):
    made = _subscription(web, trial=True)
    for who in (made["customer_id"], made["external_id"]):
        found = web.call("GET", f"/subscriptions?customer={who}&status=trialing", role="viewer").json["items"]
        assert [one["id"] for one in found] == [made["id"]]
    assert web.call("GET", f"/subscriptions?customer={made['customer_id']}&status=active").json["items"] == []
    assert web.call("GET", "/subscriptions?status=frozen").status == 422


def test_an_unknown_plan_or_customer_is_named(web: Web):
    answer = web.call("POST", "/subscriptions", json={"customer_id": "cus_x", "plan_code": "none"})
    assert (answer.status, _codes(answer)) == (
        422,
        {"customer_id": "unknown_customer", "plan_code": "unknown_plan"},
    )
