"""What becomes of money: exact, too little, too much, too late, for nobody, for somebody who is gone."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from tenure.audit.record import SYSTEM
from tenure.errors import IllegalTransition, Invalid, NotFound
from tenure.payments.assign import AlreadyMatched, assign, ignore
from tenure.payments.claim import claim, find
from tenure.payments.settle import settle
from tenure.payments.void import void
from tenure.subscriptions.cancel import cancel
from tests.support import builders as build
from tests.support.money import MANUAL, PROVIDER, Shop, simulated_shop


@pytest.fixture
def shop(db) -> Iterator[Shop]:
    with simulated_shop(db) as made:
        yield made


def _confirm(shop: Shop) -> None:
    shop.chain.mine(3)
    shop.watch()


def _claim(shop: Shop, invoice_id: str, tx_hash: str) -> str:
    found = find(shop.db, shop.settings, shop.readers, tx_hash)
    with shop.db.transaction() as session:
        return claim(session, shop.settings, found, invoice_id, actor=SYSTEM)


def _customer(shop: Shop, sub: str) -> str:
    found: str = build.shown(shop.db, sub)["customer_id"]
    return found


def _open_alerts(shop: Shop) -> list[str]:
    return [row.rule for row in build.rows(shop.db, "SELECT rule FROM alert WHERE resolved_at IS NULL")]


def test_another_amount_than_the_quoted_one_waits_in_suspense(shop):
    sub = build.subscription(shop.db, status="incomplete")
    invoice = shop.opened(sub)
    shop.pay(invoice, 5_000_000)
    _confirm(shop)
    [payment] = shop.payments()
    assert (payment["match"], payment["status"], payment["note"]) == ("unmatched", "confirmed", "no_quote")
    assert shop.invoice(invoice["id"])["status"] == "open"
    assert shop.entries() == []
    assert _open_alerts(shop) == ["payments_in_suspense"]


def test_too_little_that_is_claimed_leaves_the_invoice_open_and_quotes_the_rest(shop):
    sub = build.subscription(shop.db, status="incomplete")
    invoice = shop.opened(sub)
    tx_hash = shop.pay(invoice, 5_000_000)
    _confirm(shop)
    _claim(shop, invoice["id"], tx_hash)
    part = shop.invoice(invoice["id"])
    assert (part["status"], part["exception"], part["paid"]["amount_minor"]) == ("open", "underpaid", 500)
    assert 4_990_000 < int(part["quote"]["amount_units"]) < 5_000_000
    assert shop.status(sub) == "incomplete"
    assert shop.entries() == [("credit", 500), ("debit", -500)]
    kinds = [row.kind for row in build.rows(shop.db, "SELECT kind FROM notice")]
    assert kinds == ["payment_problem"]
    shop.pay(part)
    _confirm(shop)
    paid = shop.invoice(invoice["id"])
    assert (paid["status"], paid["exception"], paid["paid"]["amount_minor"]) == ("paid", "none", 999)
    assert shop.status(sub) == "active"
    assert shop.balance(_customer(shop, sub)) == [{"amount_minor": 0, "currency": "USD"}]


def test_too_much_that_is_claimed_pays_and_leaves_the_rest_on_the_balance(shop):
    sub = build.subscription(shop.db, status="incomplete")
    invoice = shop.opened(sub)
    tx_hash = shop.pay(invoice, 12_000_000)
    _confirm(shop)
    _claim(shop, invoice["id"], tx_hash)
    paid = shop.invoice(invoice["id"])
    assert (paid["status"], paid["exception"], paid["paid"]["amount_minor"]) == ("paid", "overpaid", 1200)
    assert shop.balance(_customer(shop, sub)) == [{"amount_minor": 201, "currency": "USD"}]
    assert _open_alerts(shop) == []


def test_the_same_amount_sent_twice_is_an_overpayment(shop):
    sub = build.subscription(shop.db, status="incomplete")
    invoice = shop.opened(sub)
    shop.pay(invoice)
    shop.pay(invoice)
    _confirm(shop)
    paid = shop.invoice(invoice["id"])
    assert (paid["status"], paid["exception"], paid["paid"]["amount_minor"]) == ("paid", "overpaid", 1998)
    assert shop.entries() == [("credit", 999), ("debit", -999), ("credit", 999)]
    assert build.shown(shop.db, sub)["period_no"] == 1


def test_a_late_payment_pays_an_expired_invoice(shop):
    sub = build.subscription(shop.db, status="incomplete")
    invoice = shop.opened(sub)
    shop.watch()
    shop.advance(timedelta(hours=25))
    shop.watch()
    assert shop.invoice(invoice["id"])["status"] == "expired"
    shop.pay(invoice)
    _confirm(shop)
    paid = shop.invoice(invoice["id"])
    assert (paid["status"], paid["exception"]) == ("paid", "late")
    assert shop.status(sub) == "active"


def test_a_payment_made_in_time_and_seen_after_an_outage_is_not_late(shop):
    sub = build.subscription(shop.db, status="incomplete")
    invoice = shop.opened(sub)
    shop.pay(invoice)
    shop.advance(timedelta(hours=23, minutes=59))
    _confirm(shop)
    assert shop.invoice(invoice["id"])["exception"] == "none"


def test_a_late_payment_takes_the_place_of_an_unpaid_newer_invoice_of_the_period(shop):
    sub = build.subscription(shop.db, status="incomplete")
    old = shop.opened(sub)
    shop.watch()
    shop.advance(timedelta(hours=25))
    shop.watch()
    new = shop.opened(sub)
    assert new["id"] != old["id"]
    shop.pay(old)
    _confirm(shop)
    assert shop.invoice(old["id"])["status"] == "paid"
    assert shop.invoice(new["id"])["status"] == "void"
    assert shop.status(sub) == "active"


def test_a_late_payment_for_a_period_that_is_paid_already_goes_to_the_balance(shop):
    sub = build.subscription(shop.db, status="incomplete")
    old = shop.opened(sub)
    shop.watch()
    shop.advance(timedelta(hours=25))
    shop.watch()
    shop.pay(shop.opened(sub))
    _confirm(shop)
    shop.pay(old)
    _confirm(shop)
    late = shop.invoice(old["id"])
    assert (late["status"], late["exception"]) == ("expired", "late")
    assert shop.balance(_customer(shop, sub)) == [{"amount_minor": 999, "currency": "USD"}]
    assert build.shown(shop.db, sub)["period_no"] == 1


def test_a_payment_for_a_canceled_subscription_waits_in_suspense(shop):
    sub = build.subscription(shop.db, status="incomplete")
    invoice = shop.opened(sub)
    shop.pay(invoice)
    shop.watch()
    with shop.db.transaction() as session:
        cancel(session, sub, at_period_end=False, actor=SYSTEM)
    _confirm(shop)
    [payment] = shop.payments()
    assert (payment["match"], payment["note"]) == ("unmatched", "subscription_canceled")
    assert build.shown(shop.db, sub)["holds"] == []
    assert shop.entries() == []
    with pytest.raises(IllegalTransition), shop.db.transaction() as session:
        assign(session, shop.settings, payment["id"], invoice_id=invoice["id"], actor=SYSTEM)


def test_a_payment_for_a_void_invoice_waits_in_suspense_and_can_be_assigned_to_another(shop):
    sub = build.subscription(shop.db, status="incomplete")
    old = shop.opened(sub)
    with shop.db.transaction() as session:
        void(session, old["id"], actor=SYSTEM)
    shop.pay(old)
    _confirm(shop)
    [payment] = shop.payments(match="unmatched")
    new = shop.opened(sub, MANUAL)
    with shop.db.transaction() as session:
        assign(session, shop.settings, payment["id"], invoice_id=new["id"], actor=SYSTEM)
    assert shop.invoice(new["id"])["status"] == "paid"
    assert shop.status(sub) == "active"
    with pytest.raises(AlreadyMatched), shop.db.transaction() as session:
        assign(session, shop.settings, payment["id"], invoice_id=new["id"], actor=SYSTEM)


def test_a_claim_before_the_confirmations_holds_and_is_credited_with_them(shop):
    sub = build.subscription(shop.db, status="incomplete")
    invoice = shop.opened(sub)
    tx_hash = shop.pay(invoice, 9_990_000)
    _claim(shop, invoice["id"], tx_hash)
    assert [hold["kind"] for hold in build.shown(shop.db, sub)["holds"]] == ["payment_in_flight"]
    assert shop.invoice(invoice["id"])["status"] == "open"
    _confirm(shop)
    assert shop.invoice(invoice["id"])["status"] == "paid"
    assert shop.entries() == [("credit", 999), ("debit", -999)]


def test_a_transaction_is_claimed_once_and_an_unknown_one_not_at_all(shop):
    sub = build.subscription(shop.db, status="incomplete")
    invoice = shop.opened(sub)
    tx_hash = shop.pay(invoice, 11_000_000)
    _confirm(shop)
    _claim(shop, invoice["id"], tx_hash.upper().replace("0X", "0x"))
    with pytest.raises(AlreadyMatched):
        _claim(shop, invoice["id"], tx_hash)
    with pytest.raises(NotFound):
        _claim(shop, invoice["id"], "0x" + "12" * 32)
    with pytest.raises(Invalid):
        _claim(shop, invoice["id"], "nonsense")


def test_an_ignored_payment_leaves_the_suspense_list_and_the_alert(shop):
    build.subscription(shop.db, status="incomplete")
    shop.chain.transfer(shop.settings.chains[0].addresses[0], 1)
    _confirm(shop)
    [payment] = shop.payments()
    with shop.db.transaction() as session:
        ignore(session, payment["id"], reason="dust", actor=SYSTEM)
    assert shop.payments(match="unmatched") == []
    assert shop.payments()[0]["match"] == "ignored"
    assert _open_alerts(shop) == []


def test_what_was_paid_of_an_invoice_that_expires_is_back_on_the_balance(shop):
    sub = build.subscription(shop.db, status="incomplete")
    invoice = shop.opened(sub)
    tx_hash = shop.pay(invoice, 5_000_000)
    _confirm(shop)
    _claim(shop, invoice["id"], tx_hash)
    shop.advance(timedelta(hours=25))
    shop.watch()
    assert shop.invoice(invoice["id"])["status"] == "expired"
    assert shop.entries()[-1] == ("adjustment", 500)
    assert shop.balance(_customer(shop, sub)) == [{"amount_minor": 500, "currency": "USD"}]


def test_settling_an_underpaid_invoice_adds_only_what_is_missing(shop):
    sub = build.subscription(shop.db, status="incomplete")
    invoice = shop.opened(sub, PROVIDER)
    shop.deliver("m1", invoice_id=invoice["id"], provider_ref="r1", amount_minor=400)
    shop.watch()
    with shop.db.transaction() as session:
        settle(session, invoice["id"], reason="rest in cash", actor=SYSTEM)
    paid = shop.invoice(invoice["id"])
    assert (paid["status"], paid["paid"]["amount_minor"]) == ("paid", 999)
    assert shop.entries() == [("credit", 400), ("debit", -400), ("credit", 599), ("debit", -599)]


def test_a_reversed_payment_that_is_mined_again_counts_again_once(shop):
    sub = build.subscription(shop.db, status="incomplete")
    invoice = shop.opened(sub)
    shop.watch()
    shop.pay(invoice)
    shop.chain.mine(3)
    shop.watch()
    lost = shop.node.ledger.blocks[-4].transactions
    shop.chain.reorg(4, keep=False)
    shop.watch()
    assert shop.entries()[-1] == ("reversal", -999)
    shop.node.ledger._waiting.extend(lost)
    shop.chain.mine(1)
    shop.watch()
    assert shop.payments()[0]["status"] == "seen"
    _confirm(shop)
    assert shop.entries()[2:] == [("reversal", -999), ("adjustment", 999)]
    assert shop.invoice(invoice["id"])["exception"] == "none"
    assert build.shown(shop.db, sub)["period_no"] == 1
    assert build.shown(shop.db, sub)["holds"] == []
    assert _open_alerts(shop) == []
