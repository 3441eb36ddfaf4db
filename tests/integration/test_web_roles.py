"""The roles of the contract, written down a second time: a route that asks for another role fails here."""

from __future__ import annotations

from tests.support.web import Web

API = "/api/v1"
# What each role may do beyond the one before it; everything that is read is open to viewers, but for this.
READ_BY_OPERATORS = {"/audit"}
VIEWER = {"POST /ws-ticket", "DELETE /auth/sessions/{id}"}
OPERATOR = {
    "POST /customers", "PATCH /customers/{id}",
    "POST /subscriptions", "POST /subscriptions/{id}/cancel", "POST /subscriptions/{id}/pause",
    "POST /subscriptions/{id}/resume", "POST /subscriptions/{id}/extend", "POST /subscriptions/{id}/expire",
    "POST /subscriptions/{id}/invoices",
    "POST /invoices/{id}/void", "POST /invoices/{id}/claim",
    "POST /payments/{id}/assign", "POST /payments/{id}/ignore",
    "POST /jobs/{job}/runs",
    "PATCH /schedules/{job}", "POST /schedules/{job}/pause", "POST /schedules/{job}/resume",
    "POST /webhook-deliveries/{id}/replay",
    "POST /integrations/{name}/test",
}  # fmt: skip
ADMIN = {
    "POST /plans", "PATCH /plans/{code}",
    "POST /invoices/{id}/settle",
    "POST /users", "PATCH /users/{id}", "DELETE /users/{id}",
    "POST /api-keys", "PATCH /api-keys/{id}", "DELETE /api-keys/{id}",
    "POST /webhook-endpoints", "DELETE /webhook-endpoints/{id}", "POST /webhook-endpoints/{id}/enable",
    "POST /webhook-endpoints/{id}/rotate-secret",
    "POST /integrations/{name}/breaker",
}  # fmt: skip
PUBLIC = {
    "POST /auth/login", "POST /auth/refresh", "POST /auth/logout",
    "GET /pay/{token}", "POST /hooks/telegram", "POST /hooks/payments/{provider}",
}  # fmt: skip


def expected(act: str) -> str:
    for role, acts in (("public", PUBLIC), ("viewer", VIEWER), ("operator", OPERATOR), ("admin", ADMIN)):
        if act in acts:
            return role
    method, path = act.split(" ")
    if method != "GET":
        return f"{act} is new: say here who may"
    return "operator" if path in READ_BY_OPERATORS else "viewer"


def test_every_route_asks_for_the_role_that_the_contract_names(web: Web):
    spec = web.call("GET", "/openapi.json", role=None).json
    found = {
        f"{method.upper()} {path.removeprefix(API)}": operation["x-tenure-role"]
        for path, operations in spec["paths"].items()
        for method, operation in operations.items()
    }
    assert {act: role for act, role in found.items() if role != expected(act)} == {}
    assert found.keys() >= (VIEWER | OPERATOR | ADMIN | PUBLIC), "nothing of the contract is missing"
