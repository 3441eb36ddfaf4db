"""One intention of a person is one run, whichever way it reached the server."""

from __future__ import annotations

from tests.support.sockets import client
from tests.support.web import Web


def test_a_run_asked_for_over_the_socket_and_over_http_with_one_key_runs_once(web: Web):
    with client(web, "operator") as it:
        first = it.ask(type="run", job="expiry", scope="both", key="two-ways")
    again = web.call(
        "POST",
        "/jobs/expiry/runs",
        role="operator",
        json={"scope": "both"},
        headers={"Idempotency-Key": "two-ways"},
    )
    assert again.status == 202
    assert again.json["slot_id"] == first["result"]["slot_id"]
    listed = web.call("GET", "/slots?job=expiry&scope=both").json["items"]
    assert len(listed) == 1
    other = web.call(
        "POST",
        "/jobs/reminders/runs",
        role="operator",
        json={"scope": "both"},
        headers={"Idempotency-Key": "two-ways"},
    )
    assert (other.status, other.json["code"]) == (409, "idempotency_mismatch")
