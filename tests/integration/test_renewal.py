"""The job auto_renewal: a day before the end, once, from the balance or announced."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from tenure.audit.record import SYSTEM
from tenure.kit.money import Money
from tenure.payments import ledger, renew
from tenure.payments.ledger import Entry
from tenure.payments.void import void
from tests.support import builders as build
from tests.support.money import Shop, simulated_shop


@pytest.fixture
def shop(db) -> Iterator[Shop]:
    with simulated_shop(db) as made:
        build.plan(db, auto_renew=True)
        yield made


def _to_the_day_before(shop: Shop, sub: str, early: timedelta = timedelta(hours=24)) -> None:
    build.advance_to(shop.db, build.moment(shop.db, sub, "period_end") - early)


def _invoices(shop: Shop) -> list[Any]:
    return build.rows(shop.db, "SELECT id, status, origin, method, period_no FROM invoice ORDER BY id")


def _give(shop: Shop, sub: str, minor: int) -> None:
    customer = build.shown(shop.db, sub)["customer_id"]
    with shop.db.transaction() as session:
        ledger.enter(session, Entry.ADJUSTMENT, Money(minor, "USD"), customer_id=customer)


def _notices(shop: Shop) -> list[tuple[str, str]]:
    rows = build.rows(shop.db, "SELECT kind, stage FROM notice ORDER BY id")
    return [(row.kind, row.stage) for row in rows]


def test_nothing_is_opened_earlier_than_a_day_before(shop):
    sub = build.subscription(shop.db)
    _to_the_day_before(shop, sub, timedelta(hours=25))
    shop.renew()
    assert _invoices(shop) == []


def test_a_day_before_the_end_the_invoice_is_opened_and_announced_once(shop):
    sub = build.subscription(shop.db)
    _to_the_day_before(shop, sub)
    assert shop.renew().counters.done == 1
    assert shop.renew().counters.done == 0
    [invoice] = _invoices(shop)
    assert (invoice.status, invoice.origin, invoice.method, invoice.period_no) == (
        "open",
        "renewal",
        "chain",
        2,
    )
    assert _notices(shop) == [("period_ending", "")]
    shown = shop.invoice(invoice.id)
    # Longer than the access that it would keep: grace is 48 h.
    assert shown["expires_at"] > build.shown(shop.db, sub)["access_until"]
    shop.pay(shown)
    shop.chain.mine(3)
    shop.watch()
    assert build.shown(shop.db, sub)["period_no"] == 2
    assert shop.renew().counters.done == 0


def test_a_balance_that_suffices_pays_the_renewal(shop):
    sub = build.subscription(shop.db)
    _give(shop, sub, 1500)
    end = build.moment(shop.db, sub, "period_end")
    _to_the_day_before(shop, sub)
    shop.renew()
    [invoice] = _invoices(shop)
    assert invoice.status == "paid"
    shown = build.shown(shop.db, sub)
    assert (shown["period_no"], shown["payable_until"]) == (2, None)
    assert build.moment(shop.db, sub, "period_start") == end
    assert shop.entries() == [("adjustment", 1500), ("debit", -999)]
    assert _notices(shop) == [("payment_confirmed", "")]
    assert shop.renew().counters.done == 0


def test_a_balance_that_suffices_later_pays_the_open_renewal(shop):
    sub = build.subscription(shop.db)
    _to_the_day_before(shop, sub)
    _give(shop, sub, 998)
    shop.renew()
    assert _invoices(shop)[0].status == "open"
    _give(shop, sub, 1)
    shop.renew()
    assert _invoices(shop)[0].status == "paid"
    assert shop.balance(build.shown(shop.db, sub)["customer_id"])[0]["amount_minor"] == 0


def test_one_balance_pays_one_of_two_subscriptions_even_with_two_runs_at_once(shop):
    customer = build.customer(shop.db)
    subs = [build.subscription(shop.db, customer_id=customer) for _ in range(2)]
    _give(shop, subs[0], 1000)
    _to_the_day_before(shop, subs[1])
    runs = [build.run(shop.db, job) for job in ("auto_renewal", "expiry")]
    threads = [threading.Thread(target=renew.run, args=(run, shop.settings)) for run in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(row.status for row in _invoices(shop)) == ["open", "paid"]
    assert shop.balance(customer) == [{"amount_minor": 1, "currency": "USD"}]


def test_without_chains_and_providers_the_renewal_is_settled_by_hand(db):
    with simulated_shop(db, chains=[], payment_providers=[]) as shop:
        build.plan(db, auto_renew=True)
        sub = build.subscription(db)
        _to_the_day_before(shop, sub)
        shop.renew()
        assert [row.method for row in _invoices(shop)] == ["manual"]


def test_a_voided_renewal_is_not_opened_again(shop):
    sub = build.subscription(shop.db)
    _to_the_day_before(shop, sub)
    shop.renew()
    [invoice] = _invoices(shop)
    with shop.db.transaction() as session:
        void(session, invoice.id, actor=SYSTEM)
    shop.renew()
    assert len(_invoices(shop)) == 1


@pytest.mark.parametrize("change", ["auto_renew = false", "cancel_at_period_end = true"])
def test_who_does_not_renew_gets_no_invoice(shop, change):
    sub = build.subscription(shop.db)
    with shop.db.transaction() as session:
        session.execute(text(f"UPDATE subscription SET {change} WHERE id = :id"), {"id": sub})
    _to_the_day_before(shop, sub)
    shop.renew()
    assert _invoices(shop) == []


def test_a_trial_that_renews_gets_its_invoice_before_it_ends(shop):
    sub = build.subscription(shop.db, status="trialing")
    _give(shop, sub, 999)
    _to_the_day_before(shop, sub)
    shop.renew()
    assert [row.status for row in _invoices(shop)] == ["paid"]
    shown = build.shown(shop.db, sub)
    assert (shown["status"], shown["paid_periods"]) == ("trialing", 1)
    shop.renew()
    assert len(_invoices(shop)) == 1


def test_more_renewals_than_a_batch_are_opened_in_one_run(shop):
    subs = [build.subscription(shop.db) for _ in range(60)]
    _to_the_day_before(shop, subs[-1])
    run = shop.renew()
    assert run.counters.done == 60
    assert len(_invoices(shop)) == 60
