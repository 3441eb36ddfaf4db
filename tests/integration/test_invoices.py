"""Invoices: one for each period, named on a chain by an exact amount, open until paid, expired or void."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from datetime import timedelta

import psycopg
import pytest

from tenure.audit.record import SYSTEM
from tenure.errors import Conflict, IllegalTransition, Invalid, NotFound, Unavailable
from tenure.kit.money import Money
from tenure.payments import ledger
from tenure.payments.ledger import Entry
from tenure.payments.open_invoice import Opened, Wanted
from tenure.payments.quoting import NoFreeAmount
from tenure.payments.rules import Method
from tenure.payments.settle import settle
from tenure.payments.void import void
from tests.support import builders as build
from tests.support.money import CHAIN, MANUAL, PROVIDER, RECEIVERS, Shop, simulated_shop


@pytest.fixture
def shop(db) -> Iterator[Shop]:
    with simulated_shop(db) as made:
        yield made


def test_an_invoice_on_a_chain_has_an_amount_of_its_own_and_a_uri(shop):
    sub = build.subscription(shop.db, status="incomplete")
    invoice = shop.opened(sub)
    quote = invoice["quote"]
    assert (invoice["status"], invoice["exception"]) == ("open", "none")
    assert invoice["amount"] == {"amount_minor": 999, "currency": "USD"}
    assert invoice["paid"] == {"amount_minor": 0, "currency": "USD"}
    assert invoice["confirmations"] == {"seen": 0, "required": 3}
    assert quote["address"] in RECEIVERS
    assert 9_990_000 < int(quote["amount_units"]) < 10_000_000
    assert quote["amount"] == f"9.{quote['amount_units'][1:]}"
    assert quote["uri"] == (
        f"ethereum:{quote['contract']}@31337/transfer?address={quote['address']}&uint256={quote['amount_units']}"
    )
    assert invoice["number"].startswith("INV-")
    assert invoice["checkout_url"].startswith("/pay/")
    shown = build.shown(shop.db, sub)
    assert shown["payable_source"] == "chain:dev"
    assert shown["payable_until"] == invoice["late_until"]


def test_a_second_call_returns_the_open_invoice(shop):
    sub = build.subscription(shop.db, status="incomplete")
    first, second = shop.open(sub), shop.open(sub)
    assert (first.created, second.created) == (True, False)
    assert first.invoice_id == second.invoice_id


def test_twenty_calls_at_once_open_one_invoice(shop):
    sub = build.subscription(shop.db, status="incomplete")
    found: list[Opened] = []

    def call() -> None:
        opened = None
        while opened is None:
            with contextlib.suppress(Unavailable):  # who waits too long for a turn is refused and asks again
                opened = shop.open(sub)
        found.append(opened)

    threads = [threading.Thread(target=call) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({one.invoice_id for one in found}) == 1
    assert [one.created for one in found].count(True) == 1
    assert len(found) == 20


def test_an_invoice_that_only_people_could_settle_is_given_the_way_that_is_wanted_now(shop):
    sub = build.subscription(shop.db, status="incomplete")
    manual = shop.opened(sub, MANUAL)
    assert "quote" not in manual
    assert build.shown(shop.db, sub)["payable_until"] is None
    quoted = shop.opened(sub, CHAIN)
    assert quoted["id"] == manual["id"]
    assert quoted["method"] == "chain"
    assert quoted["quote"]["chain"] == "dev"
    assert build.shown(shop.db, sub)["payable_source"] == "chain:dev"
    assert shop.opened(sub, MANUAL)["method"] == "chain"


@pytest.mark.parametrize(
    ("wanted", "field", "code"),
    [
        (Wanted(Method.CHAIN, chain="nowhere", asset="USDC"), "chain", "unknown_chain"),
        (Wanted(Method.CHAIN, chain="dev", asset="DOGE"), "asset", "unknown_asset"),
        (Wanted(Method.CHAIN, chain="dev"), "asset", "missing"),
        (Wanted(Method.PROVIDER, provider="nobody"), "provider", "unknown_provider"),
        (Wanted(Method.PROVIDER), "provider", "missing"),
    ],
)
def test_what_the_settings_do_not_name_is_refused_by_field(shop, wanted, field, code):
    sub = build.subscription(shop.db, status="incomplete")
    with pytest.raises(Invalid) as refused:
        shop.open(sub, wanted)
    assert [(error.field, error.code) for error in refused.value.errors] == [(field, code)]


def test_without_a_rate_nothing_is_quoted(db):
    with simulated_shop(db, rates={"USDC": {"EUR": "1"}}) as shop:
        sub = build.subscription(db, status="incomplete")
        with pytest.raises(Invalid) as refused:
            shop.open(sub)
        assert refused.value.errors[0].code == "no_rate"


def test_an_unknown_subscription_is_not_found(shop):
    with pytest.raises(NotFound):
        shop.open("sub_nope")


@pytest.mark.parametrize("status", ["canceled", "paused"])
def test_no_invoice_is_opened_for_what_cannot_be_paid_for(shop, status):
    sub = build.subscription(shop.db, status=status)
    with pytest.raises(IllegalTransition) as refused:
        shop.open(sub)
    assert refused.value.extra["current"] == status


def test_no_two_live_quotes_share_chain_address_contract_and_amount(shop):
    build.plan(shop.db)
    subs = [build.subscription(shop.db, status="incomplete") for _ in range(30)]
    quotes = [shop.opened(sub)["quote"] for sub in subs]
    assert len({(one["address"], one["amount_units"]) for one in quotes}) == 30
    assert len({one["address"] for one in quotes}) == 2


def test_when_every_amount_is_taken_the_next_invoice_is_refused_and_the_last_free_one_found(db):
    chain = {
        "name": "dev", "kind": "evm", "chain_id": 31337, "rpc_urls": ["http://127.0.0.1:1"],
        "confirmations": 1, "assets": [{"symbol": "USDC", "contract": "0x" + "cc" * 20, "decimals": 3}],
        "addresses": [RECEIVERS[0]],
    }  # fmt: skip
    with simulated_shop(db, chains=[chain]) as shop:
        build.plan(db)
        found = {
            shop.opened(build.subscription(db, status="incomplete"))["quote"]["amount"] for _ in range(9)
        }
        assert found == {f"9.99{tag}" for tag in range(1, 10)}
        with pytest.raises(NoFreeAmount):
            shop.open(build.subscription(db, status="incomplete"))


def test_settling_by_hand_pays_credits_and_tells_once(shop):
    sub = build.subscription(shop.db, status="incomplete")
    id_ = shop.open(sub, MANUAL).invoice_id
    with shop.db.transaction() as session:
        payment_id = settle(session, id_, reason="cash", actor=SYSTEM)
    invoice = shop.invoice(id_)
    assert (invoice["status"], invoice["paid"]["amount_minor"]) == ("paid", 999)
    assert shop.status(sub) == "active"
    assert shop.entries() == [("credit", 999), ("debit", -999)]
    notices = build.rows(shop.db, "SELECT kind, ref, channel FROM notice")
    assert [tuple(row) for row in notices] == [("payment_confirmed", payment_id, "email")]
    with pytest.raises(IllegalTransition), shop.db.transaction() as session:
        settle(session, id_, reason="again", actor=SYSTEM)
    assert len(shop.entries()) == 2


def test_a_paid_period_is_followed_by_an_invoice_for_the_next(shop):
    sub = build.subscription(shop.db, status="incomplete")
    first = shop.opened(sub, MANUAL)
    with shop.db.transaction() as session:
        settle(session, first["id"], reason="cash", actor=SYSTEM)
    second = shop.opened(sub, MANUAL)
    assert (first["period_no"], second["period_no"]) == (1, 2)
    assert second["due_at"] == build.shown(shop.db, sub)["period_end"]


def test_a_void_invoice_is_payable_no_more_and_another_can_be_opened(shop):
    sub = build.subscription(shop.db, status="incomplete")
    id_ = shop.open(sub).invoice_id
    with shop.db.transaction() as session:
        void(session, id_, actor=SYSTEM, reason="mistake")
    assert shop.invoice(id_)["status"] == "void"
    assert build.shown(shop.db, sub)["payable_until"] is None
    with pytest.raises(IllegalTransition), shop.db.transaction() as session:
        void(session, id_, actor=SYSTEM)
    assert shop.open(sub).created


def test_an_invoice_with_a_payment_in_flight_is_not_voided(shop):
    sub = build.subscription(shop.db, status="incomplete")
    invoice = shop.opened(sub)
    shop.pay(invoice)
    shop.watch()
    with pytest.raises(Conflict) as refused, shop.db.transaction() as session:
        void(session, invoice["id"], actor=SYSTEM)
    assert refused.value.instance_code == "payment_in_flight"


def test_an_invoice_expires_after_its_time_and_frees_its_amount_after_the_late_window(shop):
    sub = build.subscription(shop.db, status="incomplete")
    id_ = shop.open(sub).invoice_id
    shop.watch()
    assert shop.invoice(id_)["status"] == "open"
    shop.advance(timedelta(hours=25))
    shop.watch()
    assert shop.invoice(id_)["status"] == "expired"
    assert build.shown(shop.db, sub)["payable_until"] is None
    assert build.rows(shop.db, "SELECT live FROM quote") == [(True,)]
    shop.advance(timedelta(days=8))
    shop.watch()
    assert build.rows(shop.db, "SELECT live FROM quote") == [(False,)]
    types = [
        row.type
        for row in build.rows(shop.db, "SELECT type FROM event WHERE type LIKE 'invoice.%' ORDER BY n")
    ]
    assert types == ["invoice.opened", "invoice.expired"]


def test_an_invoice_stays_open_while_its_chain_cannot_be_seen(shop):
    sub = build.subscription(shop.db, status="incomplete")
    id_ = shop.open(sub).invoice_id
    shop.watch()
    shop.node.stop()
    shop.advance(timedelta(hours=25))
    run = shop.watch()
    assert run.counters.failed == 1
    assert shop.invoice(id_)["status"] == "open"


def test_an_expired_invoice_that_nobody_has_swept_yet_gives_way_to_a_new_one(shop):
    sub = build.subscription(shop.db, status="incomplete")
    old = shop.open(sub, PROVIDER).invoice_id
    shop.advance(timedelta(hours=25))
    new = shop.open(sub, PROVIDER)
    assert new.created
    assert shop.invoice(old)["status"] == "expired"


def test_ledger_entries_are_never_changed_or_removed(shop):
    customer = build.customer(shop.db)
    with shop.db.transaction() as session:
        ledger.enter(session, Entry.ADJUSTMENT, Money(5, "USD"), customer_id=customer)
    with psycopg.connect(shop.db.url, autocommit=True) as connection:
        for statement in ("UPDATE ledger_entry SET amount_minor = 6", "DELETE FROM ledger_entry",
                          "TRUNCATE ledger_entry"):  # fmt: skip
            with pytest.raises(psycopg.errors.RestrictViolation):
                connection.execute(statement.encode())
    assert shop.entries() == [("adjustment", 5)]
