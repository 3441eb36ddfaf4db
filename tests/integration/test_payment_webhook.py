"""Webhooks of payment providers: proved, stored once, worked out later, credited once."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator

import pytest

from tenure.errors import NotFound
from tenure.kit import signing
from tenure.payments.receive_webhook import verify_webhook
from tenure.settings import Settings, load
from tests.support import builders as build
from tests.support.money import PROVIDER, SECRET, Shop, simulated_shop


@pytest.fixture
def shop(db) -> Iterator[Shop]:
    with simulated_shop(db) as made:
        yield made


def _results(shop: Shop) -> list[str]:
    return [row.result for row in build.rows(shop.db, "SELECT result FROM inbound_event ORDER BY id")]


def test_a_payment_told_by_a_provider_is_credited_once(shop):
    sub = build.subscription(shop.db, status="incomplete")
    invoice = shop.opened(sub, PROVIDER)
    assert build.shown(shop.db, sub)["payable_source"] == "provider:bank"
    assert shop.deliver("m1", invoice_id=invoice["id"], provider_ref="r1", amount_minor=999)
    assert not shop.deliver("m1", invoice_id=invoice["id"], provider_ref="r1", amount_minor=999)
    assert shop.status(sub) == "incomplete"
    shop.watch()
    shop.watch()
    assert shop.status(sub) == "active"
    assert shop.invoice(invoice["id"])["status"] == "paid"
    assert shop.entries() == [("credit", 999), ("debit", -999)]
    assert _results(shop) == ["payment"]


def test_twenty_deliveries_at_once_are_one_credit(shop):
    sub = build.subscription(shop.db, status="incomplete")
    invoice = shop.opened(sub, PROVIDER)
    stored: list[bool] = []
    watchers = [build.run(shop.db, job) for job in ("payment_watcher", "auto_renewal")]

    def deliver() -> None:
        stored.append(shop.deliver("m1", invoice_id=invoice["id"], provider_ref="r1", amount_minor=999))

    threads = [threading.Thread(target=deliver) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(stored), stored.count(True)) == (20, 1)
    from tenure.payments import process_inbound

    both = [threading.Thread(target=process_inbound.process_inbound, args=(run,)) for run in watchers]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert shop.entries() == [("credit", 999), ("debit", -999)]
    assert shop.status(sub) == "active"


def test_the_same_payment_under_another_message_id_counts_once(shop):
    sub = build.subscription(shop.db, status="incomplete")
    invoice = shop.opened(sub, PROVIDER)
    for message_id in ("m1", "m2"):
        shop.deliver(message_id, invoice_id=invoice["id"], provider_ref="r1", amount_minor=999)
    shop.watch()
    assert _results(shop) == ["payment", "duplicate"]
    assert shop.entries() == [("credit", 999), ("debit", -999)]


@pytest.mark.parametrize(
    ("amount", "status", "odd"),
    [(500, "open", "underpaid"), (1500, "paid", "overpaid"), (999, "paid", "none")],
)
def test_too_little_and_too_much_are_told_by_the_invoice(shop, amount, status, odd):
    sub = build.subscription(shop.db, status="incomplete")
    invoice = shop.opened(sub, PROVIDER)
    shop.deliver("m1", invoice_id=invoice["id"], provider_ref="r1", amount_minor=amount)
    shop.watch()
    after = shop.invoice(invoice["id"])
    assert (after["status"], after["exception"], after["paid"]["amount_minor"]) == (status, odd, amount)


@pytest.mark.parametrize(
    "told",
    [
        {"provider_ref": "r1", "amount_minor": 0},
        {"provider_ref": "r1", "amount_minor": "999"},
        {"provider_ref": "r1", "amount_minor": True},
        {"provider_ref": "r1", "amount_minor": 999, "currency": "usd"},
        {"amount_minor": 999},
        {"provider_ref": "r1", "amount_minor": 999, "type": None},
    ],
)
def test_a_signed_message_that_makes_no_sense_is_kept_and_told(shop, told):
    shop.deliver("m1", **{"invoice_id": "inv_x", **told})
    run = shop.watch()
    assert run.counters.failed == 0
    assert _results(shop) == ["unusable"]
    assert shop.payments() == []
    alerts = build.rows(shop.db, "SELECT rule FROM alert")
    assert [row.rule for row in alerts] == ["webhook_unusable"]


def test_another_type_is_ignored(shop):
    shop.deliver("m1", type="payment.created")
    shop.watch()
    assert _results(shop) == ["ignored"]


@pytest.mark.parametrize("invoice_id", ["inv_" + "0" * 28, "nonsense", None])
def test_money_for_an_unknown_invoice_waits_in_suspense(shop, invoice_id):
    shop.deliver("m1", invoice_id=invoice_id, provider_ref="r1", amount_minor=999)
    shop.watch()
    [payment] = shop.payments()
    assert (payment["match"], payment["note"], payment["status"]) == (
        "unmatched",
        "unknown_invoice",
        "confirmed",
    )


def test_money_in_another_currency_waits_in_suspense(shop):
    sub = build.subscription(shop.db, status="incomplete")
    invoice = shop.opened(sub, PROVIDER)
    shop.deliver("m1", invoice_id=invoice["id"], provider_ref="r1", amount_minor=999, currency="EUR")
    shop.watch()
    [payment] = shop.payments()
    assert (payment["match"], payment["note"]) == ("unmatched", "currency")
    assert shop.entries() == []


def test_while_a_providers_secret_is_changed_both_are_believed_and_then_one(tmp_path):
    body = json.dumps({"type": "payment.confirmed"}).encode()

    def known(**more: str) -> Settings:
        providers = json.dumps([{"name": "bank", "kind": "hmac", "secret": "the new one", **more}])
        return load({"TENURE_PAYMENT_PROVIDERS": providers}, data_dir=tmp_path)

    def believed(settings: Settings, secret: str) -> bool:
        headers = signing.signed_headers([secret], message_id="m1", timestamp=1000, body=body)
        try:
            verify_webhook(settings, "bank", headers=headers, body=body, now=1000)
        except signing.BadSignature:
            return False
        return True

    during, after = known(secret_previous="the old one"), known()
    assert [believed(during, secret) for secret in ("the new one", "the old one", "")] == [True, True, False]
    assert [believed(after, secret) for secret in ("the new one", "the old one")] == [True, False]


def test_forged_old_and_unknown_messages_are_refused(shop):
    body = json.dumps({"type": "payment.confirmed"}).encode()
    good = signing.signed_headers([SECRET], message_id="m1", timestamp=1000, body=body)
    forged = signing.signed_headers(["whsec_AAAA"], message_id="m1", timestamp=1000, body=body)
    verify_webhook(shop.settings, "bank", headers=good, body=body, now=1300)
    for headers, now in ((forged, 1000), (good, 1301), (good, 699), ({}, 1000)):
        with pytest.raises(signing.BadSignature):
            verify_webhook(shop.settings, "bank", headers=headers, body=body, now=now)
    with pytest.raises(signing.BadSignature):
        verify_webhook(shop.settings, "bank", headers=good, body=body + b" ", now=1000)
    with pytest.raises(NotFound):
        verify_webhook(shop.settings, "nobody", headers=good, body=body, now=1000)
