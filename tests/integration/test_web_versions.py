"""ETag, If-Match and If-None-Match over HTTP: nobody overwrites what they have not seen."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from tenure.iterations import schedules
from tenure.iterations.catalog import catalog
from tenure.kit.db import StatementDoor
from tenure.settings import Settings
from tests.support.web import Answer, Web

STALE = '"0123456789abcdef0123456789abcdef"'


def schedule(web: Web, job: str) -> str:
    door = StatementDoor(web.db.url, application="tenure-test")
    schedules.seed(door, catalog(Settings()).values())
    door.close()
    return f"/schedules/{job}"


def plan(web: Web) -> str:
    code = f"plan-{len(web.call('GET', '/plans').json['items'])}"
    body = {
        "code": code, "name": "Basic", "price": {"amount_minor": 999, "currency": "USD"},
        "interval": {"unit": "month", "count": 1}, "trial_days": 7,
    }  # fmt: skip
    assert web.call("POST", "/plans", json=body).status == 201
    return code


def customer(web: Web) -> str:
    name = f"c-{len(web.call('GET', '/customers').json['items'])}"
    made = web.call("POST", "/customers", json={"external_id": name})
    assert made.status == 201, made.body
    return str(made.json["id"])


def subscription(web: Web) -> str:
    given = {"customer_id": customer(web), "plan_code": plan(web), "trial": True}
    return str(web.call("POST", "/subscriptions", json=given).json["id"])


def user(web: Web) -> str:
    name = f"u{len(web.call('GET', '/users').json['items'])}@example.com"
    return str(web.call("POST", "/users", json={"email": name, "role": "viewer"}).json["id"])


# Where it is read, how it is changed, and what changes it once more.
Thing = tuple[Callable[[Web], str], str, str, dict[str, Any], dict[str, Any]]
THINGS: dict[str, Thing] = {
    "plan": (lambda web: f"/plans/{plan(web)}", "PATCH", "", {"name": "One"}, {"name": "Two"}),
    "customer": (
        lambda web: f"/customers/{customer(web)}", "PATCH", "", {"email": "a@example.com"},
        {"email": "b@example.com"},
    ),
    "user": (lambda web: f"/users/{user(web)}", "PATCH", "", {"role": "operator"}, {"role": "admin"}),
    "schedule": (lambda web: schedule(web, "expiry"), "PATCH", "", {"every_s": 77}, {"every_s": 78}),
    "pause": (
        lambda web: schedule(web, "reminders"), "POST", "/pause", {"reason": "one"}, {"reason": "two"},
    ),
    "subscription": (
        lambda web: f"/subscriptions/{subscription(web)}", "POST", "/extend",
        {"hours": 1, "reason": "one"}, {"hours": 2, "reason": "two"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("thing", THINGS)
def test_a_change_is_made_to_the_version_that_was_read_and_to_no_other(web: Web, thing: str):
    make, method, act, first, second = THINGS[thing]
    path = make(web)

    def change(body: dict[str, Any], tag: str) -> Answer:
        headers = {"If-Match": tag, "Idempotency-Key": f"{path}-{tag}-{body}".replace(" ", "")[:255]}
        return web.call(method, path + act, json=body, headers=headers)

    read = web.call("GET", path).headers["ETag"]
    assert web.call("GET", path).headers["ETag"] == read, "looking changes nothing"
    assert (change(second, STALE).status, web.call("GET", path).headers["ETag"]) == (412, read)
    done = change(first, read)
    assert done.status == 200, done.body
    now = web.call("GET", path).headers["ETag"]
    assert done.headers["ETag"] == now != read
    late = change(second, read)
    assert (late.status, late.json["code"], late.json["current"]) == (412, "precondition_failed", now)
    assert web.call("GET", path).headers["ETag"] == now
    assert change(second, f"{STALE}, {now}").status == 200, "any of several will do"
    assert change(first, "*").status == 200
    assert change(first, f"W/{web.call('GET', path).headers['ETag']}").status == 412, "weak tags do not count"


def test_of_many_who_read_the_same_version_one_changes_it(web: Web):
    path = f"/plans/{plan(web)}"
    tag = web.call("GET", path).headers["ETag"]
    answers: list[int] = []

    def change(number: int) -> None:
        body = {"name": f"name {number}"}
        answers.append(web.call("PATCH", path, json=body, headers={"If-Match": tag}).status)

    threads = [threading.Thread(target=change, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [200] + [412] * 11


def test_a_repeat_under_its_key_is_not_held_to_its_condition_again(web: Web):
    path = f"/subscriptions/{subscription(web)}"
    headers = {"If-Match": web.call("GET", path).headers["ETag"], "Idempotency-Key": path}
    body = {"hours": 5, "reason": "once"}
    first = web.call("POST", f"{path}/extend", json=body, headers=headers)
    again = web.call("POST", f"{path}/extend", json=body, headers=headers)
    assert (first.status, again.status, again.headers["Idempotent-Replay"]) == (200, 200, "true")
    assert again.json == first.json


def test_what_was_not_changed_is_not_sent_again(web: Web):
    path = f"/customers/{customer(web)}"
    read = web.call("GET", path)
    again = web.call("GET", path, headers={"If-None-Match": read.headers["ETag"]})
    assert (again.status, again.body, again.headers["ETag"]) == (304, b"", read.headers["ETag"])
    assert web.call("GET", path, headers={"If-None-Match": STALE}).status == 200


def test_a_sign_in_makes_no_new_version_of_its_user(web: Web):
    path = f"/users/{web.ids['viewer']}"
    tag = web.call("GET", path).headers["ETag"]
    given = {"email": "viewer@example.com", "password": "correct horse battery"}
    assert web.call("POST", "/auth/login", role=None, json=given).status == 200
    read = web.call("GET", path)
    assert read.json["last_login_at"] is not None
    assert read.headers["ETag"] == tag


def test_a_condition_that_cannot_be_looked_at_is_refused(web: Web):
    made = web.call("POST", "/api-keys", json={"name": "kept", "role": "viewer"}).json
    for method, path, body in (
        ("PATCH", f"/api-keys/{made['id']}", {"name": "other"}),
        ("DELETE", f"/api-keys/{made['id']}", None),
    ):
        answer = web.call(method, path, json=body, headers={"If-Match": STALE})
        assert (answer.status, answer.json["code"]) == (412, "precondition_failed")
    assert web.call("GET", "/me", headers={"Authorization": f"Bearer {made['key']}"}).status == 200
    gone = web.call("DELETE", f"/users/{user(web)}", headers={"If-Match": STALE})
    assert gone.status == 412
    assert web.call("PATCH", "/plans/nothing", json={"name": "x"}, headers={"If-Match": "*"}).status == 404


def test_the_description_names_what_has_versions(web: Web):
    spec = web.call("GET", "/openapi.json", role=None).json
    marked = {path for path, methods in spec["paths"].items() for one in methods.values() if "x-etag" in one}
    assert {"/api/v1/plans/{code}", "/api/v1/customers/{id}", "/api/v1/users/{id}"} <= marked
    for path in marked:
        if path.endswith("}"):
            assert "x-etag" in spec["paths"][path]["get"], path
