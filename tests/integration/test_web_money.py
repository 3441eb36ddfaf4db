"""Invoices, payments, providers' webhooks and the checkout page over HTTP."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tenure.embedded.postgres import Postgres
from tenure.embedded.valkey import Valkey
from tenure.kit import clock, signing
from tenure.kit.http import HttpDoor
from tenure.payments import watch
from tenure.standins.chain import ChainStandIn
from tenure.wiring import chain_readers
from tests.support import builders as build
from tests.support import services
from tests.support import web as web_support
from tests.support.money import SECRET, settings
from tests.support.web import Web

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def node() -> Iterator[ChainStandIn]:
    with ChainStandIn() as made:
        yield made


@pytest.fixture(scope="module")
def web(
    postgres: Postgres,
    template_database: str,
    valkey_server: Valkey,
    node: ChainStandIn,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Web]:
    """A web process whose settings name the simulated chain and a provider."""
    folder: Path = tmp_path_factory.mktemp("web")
    made = settings(node.url)
    with (
        services.fresh_database(postgres, template=template_database) as database_url,
        web_support.running(
            folder,
            database_url=database_url,
            broker_url=valkey_server.url(7),
            live_url=valkey_server.url(8),
            TENURE_CHAINS=json.dumps([chain.model_dump() for chain in made.chains]),
            TENURE_RATES=json.dumps({"USDC": {"USD": "1.00"}}),
            TENURE_PAYMENT_PROVIDERS=json.dumps([{"name": "bank", "kind": "hmac", "secret": SECRET}]),
        ) as running,
    ):
        yield running


def _subscription(web: Web) -> str:
    return build.subscription(web.db, status="incomplete")


def _key() -> dict[str, str]:
    return {"Idempotency-Key": f"key-{next(_numbers)}"}


def _open(web: Web, sub: str, **wanted: Any) -> Any:
    body = wanted or {"method": "chain", "chain": "dev", "asset": "USDC"}
    return web.call("POST", f"/subscriptions/{sub}/invoices", role="operator", json=body, headers=_key())


def _watch(web: Web, node: ChainStandIn) -> None:
    made, door = settings(node.url), HttpDoor(allow_private=True)
    watch.run(build.run(web.db, "payment_watcher"), made, chain_readers(made, door))
    door.close()


def _pay(node: ChainStandIn, quote: dict[str, Any], units: int | None = None) -> str:
    move = {"to": quote["address"], "amount_units": units or quote["amount_units"]}
    tx_hash: str = node._verbs()["tenure_transfer"]([move])
    return tx_hash


def test_an_invoice_is_opened_once_shown_and_listed(web: Web):
    sub = _subscription(web)
    answer = _open(web, sub)
    assert answer.status == 201, answer.json
    invoice = answer.json
    assert invoice["quote"].keys() >= {
        "chain", "chain_id", "asset", "contract", "address", "amount", "amount_units", "expires_at", "uri",
    }  # fmt: skip
    assert invoice["checkout_url"].startswith(f"http://127.0.0.1:{web.port}/pay/")
    again = _open(web, sub)
    assert (again.status, again.json["id"]) == (200, invoice["id"])
    assert web.call("GET", f"/invoices/{invoice['id']}", role="viewer").json == again.json
    listed = web.call("GET", f"/invoices?subscription={sub}&status=open", role="viewer").json
    assert [item["id"] for item in listed["items"]] == [invoice["id"]]
    assert web.call("GET", f"/invoices?subscription={sub}&exception=late").json["items"] == []


def test_the_same_key_gets_the_same_answer(web: Web):
    sub, headers = _subscription(web), _key()
    body = {"method": "manual"}
    first = web.call("POST", f"/subscriptions/{sub}/invoices", json=body, headers=headers)
    second = web.call("POST", f"/subscriptions/{sub}/invoices", json=body, headers=headers)
    assert (first.status, second.status) == (201, 201)
    assert second.headers["Idempotent-Replay"] == "true"
    assert second.json == first.json


def test_a_key_is_required_where_money_is_asked_or_moved(web: Web):
    for path, body in (
        ("/subscriptions/sub_x/invoices", {"method": "manual"}),
        ("/invoices/inv_x/settle", {"reason": "x"}),
        ("/invoices/inv_x/claim", {"tx_hash": "0x" + "00" * 32}),
        ("/payments/pay_x/assign", {"invoice_id": "inv_x"}),
    ):
        answer = web.call("POST", path, json=body)
        assert (answer.status, answer.json["code"]) == (400, "idempotency_key_required"), path


@pytest.mark.parametrize(
    ("wanted", "field", "code"),
    [
        ({"method": "chain", "chain": "nowhere", "asset": "USDC"}, "chain", "unknown_chain"),
        ({"method": "chain", "chain": "dev", "asset": "X"}, "asset", "unknown_asset"),
        ({"method": "provider", "provider": "x"}, "provider", "unknown_provider"),
        ({"method": "barter"}, "method", "literal_error"),
    ],
)
def test_what_is_not_known_is_refused_by_field(web: Web, wanted, field, code):
    answer = _open(web, _subscription(web), **wanted)
    assert answer.status == 422
    assert [(error["field"], error["code"]) for error in answer.json["errors"]] == [(field, code)]


def test_roles_bound_who_may_move_money(web: Web):
    invoice = _open(web, _subscription(web), method="manual").json
    settle = f"/invoices/{invoice['id']}/settle"
    assert web.call("POST", settle, role="operator", json={"reason": "x"}, headers=_key()).status == 403
    assert web.call("POST", f"/invoices/{invoice['id']}/void", role="viewer").status == 403
    answer = web.call("POST", settle, role="admin", json={"reason": "cash"}, headers=_key())
    assert (answer.status, answer.json["status"]) == (200, "paid")
    again = web.call("POST", settle, role="admin", json={"reason": "cash"}, headers=_key())
    assert (again.status, again.json["code"], again.json["current"]) == (409, "illegal_transition", "paid")
    assert web.call("POST", f"/invoices/{invoice['id']}/void").status == 409


def test_a_payment_is_followed_from_the_checkout_page_to_the_ledger(web: Web, node: ChainStandIn):
    sub = _subscription(web)
    invoice = _open(web, sub).json
    path = invoice["checkout_url"].removeprefix(web.url)
    page = web.call("GET", path, role=None)
    assert page.status == 200
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    csp = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in csp
    assert "unsafe" not in csp
    html = page.body.decode()
    assert invoice["quote"]["amount"] in html
    assert invoice["quote"]["address"] in html
    assert 'http-equiv="refresh"' in html
    _pay(node, invoice["quote"])
    _watch(web, node)
    assert "1 of 3 confirmations" in web.call("GET", path, role=None).body.decode()
    node.ledger.mine(2)
    _watch(web, node)
    assert "Paid" in web.call("GET", path, role=None).body.decode()
    [payment] = web.call("GET", f"/payments?invoice={invoice['id']}", role="viewer").json["items"]
    assert (payment["status"], payment["match"]) == ("confirmed", "matched")
    assert web.call("GET", f"/payments/{payment['id']}").json == payment
    ledger = web.call("GET", f"/customers/{invoice['customer_id']}/ledger").json
    assert [entry["kind"] for entry in ledger["items"]] == ["debit", "credit"]
    assert ledger["balances"] == [{"amount_minor": 0, "currency": "USD"}]


def test_an_unknown_checkout_page_tells_nothing(web: Web):
    answer = web.call("GET", "/pay/nonsense", role=None)
    assert answer.status == 404
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"


def test_a_transaction_is_claimed_over_http_and_a_repeat_is_the_same_answer(web: Web, node: ChainStandIn):
    invoice = _open(web, _subscription(web)).json
    tx_hash = _pay(node, invoice["quote"], 20_000_000)
    path, headers = f"/invoices/{invoice['id']}/claim", _key()
    first = web.call("POST", path, role="operator", json={"tx_hash": tx_hash}, headers=headers)
    assert first.status == 200, first.json
    repeat = web.call("POST", path, role="operator", json={"tx_hash": tx_hash}, headers=headers)
    assert (repeat.status, repeat.headers["Idempotent-Replay"], repeat.json) == (200, "true", first.json)
    other = web.call("POST", path, role="operator", json={"tx_hash": tx_hash}, headers=_key())
    assert (other.status, other.json["code"]) == (409, "already_matched")
    unknown = web.call("POST", path, json={"tx_hash": "0x" + "77" * 32}, headers=_key())
    assert (unknown.status, unknown.json["code"]) == (404, "unknown_transaction")
    assert web.call("POST", path, json={"tx_hash": "x"}, headers=_key()).status == 422


def test_a_payment_in_suspense_is_ignored_or_assigned(web: Web, node: ChainStandIn):
    invoice = _open(web, _subscription(web)).json
    _pay(node, invoice["quote"], 9_990_000)
    _pay(node, invoice["quote"], 1)
    node.ledger.mine(3)
    _watch(web, node)
    listed = web.call("GET", "/payments?match=unmatched").json["items"]
    dust = next(one for one in listed if one["amount_units"] == "1")
    bare = next(one for one in listed if one["amount_units"] == "9990000")
    answer = web.call("POST", f"/payments/{dust['id']}/ignore", role="operator", json={"reason": "dust"})
    assert (answer.status, answer.json["match"]) == (200, "ignored")
    body = {"invoice_id": invoice["id"]}
    answer = web.call("POST", f"/payments/{bare['id']}/assign", role="operator", json=body, headers=_key())
    assert (answer.status, answer.json["match"]) == (200, "matched")
    assert web.call("GET", f"/invoices/{invoice['id']}").json["status"] == "paid"
    again = web.call("POST", f"/payments/{bare['id']}/assign", json=body, headers=_key())
    assert (again.status, again.json["code"]) == (409, "already_matched")


def _deliver(web: Web, body: bytes, *, secret: str = SECRET, message_id: str = "m-1", age_s: int = 0) -> Any:
    headers = signing.signed_headers(
        [secret], message_id=message_id, timestamp=clock.unix_seconds() - age_s, body=body
    )
    return web.call("POST", "/hooks/payments/bank", role=None, body=body, headers=headers)


def test_a_providers_webhook_is_stored_once_and_credited(web: Web, node: ChainStandIn):
    invoice = _open(web, _subscription(web), method="provider", provider="bank").json
    told = {"type": "payment.confirmed", "invoice_id": invoice["id"], "provider_ref": "ref-http",
            "amount_minor": 999, "currency": "USD"}  # fmt: skip
    body = json.dumps(told).encode()
    first = _deliver(web, body, message_id="http-1")
    assert (first.status, first.json) == (200, {"stored": True})
    second = _deliver(web, body, message_id="http-1")
    assert (second.status, second.json) == (200, {"duplicate": True})
    _watch(web, node)
    assert web.call("GET", f"/invoices/{invoice['id']}").json["status"] == "paid"


def test_bad_webhooks_are_refused_before_anything_is_stored(web: Web):
    before = build.rows(web.db, "SELECT count(*) FROM inbound_event")[0][0]
    body = b'{"type":"payment.confirmed"}'
    assert _deliver(web, body, secret="whsec_AAAA").status == 401
    assert _deliver(web, body, age_s=400).status == 401
    assert _deliver(web, body, age_s=-400).status == 401
    assert web.call("POST", "/hooks/payments/bank", role=None, body=body).status == 401
    assert _deliver(web, b"not json").status == 400
    assert _deliver(web, b" " * 300_000).status == 413
    answer = web.call("POST", "/hooks/payments/nobody", role=None, body=body)
    assert answer.status == 404
    assert build.rows(web.db, "SELECT count(*) FROM inbound_event")[0][0] == before
