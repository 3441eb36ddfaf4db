"""The demo world: built once however often it is asked for, fed by payments, taken out without a trace."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import closing
from typing import Any

import pytest

from tenure import settings as settings_module
from tenure.audit.record import SYSTEM
from tenure.demo import stack
from tenure.demo.empty import empty
from tenure.demo.load import load
from tenure.demo.marks import CUSTOMERS
from tenure.demo.traffic import VISITORS, Traffic
from tenure.errors import Invalid
from tenure.kit.db import Database
from tenure.kit.http import HttpDoor
from tenure.payments import watch
from tenure.settings import Settings
from tenure.standins import devchain, token
from tenure.subscriptions import expire_due
from tenure.wiring import chain_readers
from tests.support import builders as build

ADDRESS = "0xDe30000000000000000000000000000000000001"
TABLES = (
    "plan",
    "customer",
    "subscription",
    "provisioning",
    "notice",
    "invoice",
    "quote",
    "payment",
    "ledger_entry",
    "event",
    "audit",
)


def settings_with(rpc_url: str, **other: str) -> Settings:
    chain = {
        "name": "demo",
        "kind": "evm",
        "chain_id": 31_337,
        "rpc_urls": [rpc_url],
        "confirmations": 1,
        "assets": [{"symbol": "USDC", "contract": token.ADDRESS, "decimals": token.DECIMALS}],
        "addresses": [ADDRESS],
    }
    given = {
        "TENURE_CHAINS": json.dumps([chain]),
        "TENURE_RATES": '{"USDC": {"USD": "1.00"}}',
        "TENURE_TELEGRAM_API_URL": "http://127.0.0.1:9",
        **other,
    }
    return settings_module.load(given)


@pytest.fixture
def settings() -> Settings:
    return settings_with("http://127.0.0.1:9")


def stands(db: Database) -> dict[str, list[Any]]:
    return {table: build.rows(db, f"SELECT * FROM {table} ORDER BY 1") for table in TABLES}


def demo_count(db: Database) -> int:
    return len(build.rows(db, f"SELECT 1 FROM customer WHERE {CUSTOMERS}"))


def test_the_world_has_fifty_customers_in_every_state_and_all_are_marked(db, settings):
    done = load(db, settings)
    assert (done.plans, done.customers) == (3, 50)
    assert demo_count(db) == build.rows(db, "SELECT count(*) AS n FROM customer")[0].n == 50
    found = Counter(row.status for row in build.rows(db, "SELECT status FROM subscription"))
    assert set(found) == {
        "trialing",
        "incomplete",
        "active",
        "past_due",
        "paused",
        "canceled",
        "expired",
    }
    assert build.rows(db, "SELECT count(*) AS n FROM quote JOIN invoice i ON i.id = invoice_id")[0].n == 4
    assert {
        row.name for row in build.rows(db, "SELECT name FROM plan WHERE name NOT LIKE '%(demo)'")
    } == set()


def test_a_world_that_is_built_twice_is_the_same(db, settings):
    load(db, settings)
    before = stands(db)
    done = load(db, settings)
    assert (done.plans, done.customers) == (0, 0)
    assert stands(db) == before


def test_what_was_lost_of_the_world_is_made_again(db, settings):
    load(db, settings)
    with db.transaction() as session:
        session.connection().exec_driver_sql(
            """DELETE FROM subscription WHERE customer_id =
               (SELECT id FROM customer WHERE external_id = 'demo-001')"""
        )
        session.connection().exec_driver_sql("DELETE FROM customer WHERE external_id = 'demo-001'")
    assert load(db, settings).customers == 1
    assert demo_count(db) == 50


def test_nobody_is_given_a_chat_where_the_bot_api_is_the_real_one(db):
    load(db, settings_module.load({}))
    assert build.rows(db, "SELECT 1 FROM customer WHERE telegram_chat_id IS NOT NULL") == []


def test_what_is_due_in_the_world_is_carried_out_like_everything_else(db, settings):
    load(db, settings)
    run = build.run(db, "expiry")
    expire_due.run(run)
    assert run.counters.failed == 0


def test_emptying_takes_out_the_world_and_nothing_else(db, settings):
    own = build.subscription(db, customer_id=build.customer(db, external_id="demo-like"))
    others = stands(db)
    load(db, settings)
    removed = empty(db, settings, actor=SYSTEM)
    assert removed["customers"] == 50
    assert removed["plans"] == 3
    assert removed["ledger_entries"] > 0
    after = stands(db)
    log = {"event", "audit"}
    assert {name: rows for name, rows in after.items() if name not in log} == {
        name: rows for name, rows in others.items() if name not in log
    }
    assert build.shown(db, own)["status"] == "active"
    assert sum(empty(db, settings, actor=SYSTEM).values()) == 0
    guard = build.rows(db, "SELECT tgenabled FROM pg_trigger WHERE tgname = 'ledger_entry_stands'")
    assert guard == [("O",)]
    assert load(db, settings).customers == 50


def test_a_demo_plan_that_somebody_else_uses_stays(db, settings):
    load(db, settings)
    build.subscription(db, plan_code="demo-pro-monthly")
    assert empty(db, settings, actor=SYSTEM)["plans"] == 2
    assert build.rows(db, "SELECT code FROM plan") == [("demo-pro-monthly",)]


def test_visitors_pay_on_the_chain_and_are_served(db):
    with devchain.run_simulated() as chain, closing(HttpDoor(allow_private=True)) as door:
        settings = settings_with(chain.rpc_url)
        readers = chain_readers(settings, door)
        traffic = Traffic(db, settings, pay=chain.transfer)
        assert traffic.step() is None  # no world yet
        load(db, settings)
        watch.run(build.run(db, "payment_watcher"), settings, readers)
        paid = [traffic.step() for _ in range(6)]
        assert None not in paid
        assert len(set(paid)) == 6
        watch.run(build.run(db, "payment_watcher"), settings, readers)
        watch.run(build.run(db, "payment_watcher"), settings, readers)
    invoices = build.rows(db, "SELECT id, status, exception FROM invoice WHERE id = ANY(:ids)", ids=paid)
    assert {(row.status, row.exception) for row in invoices} == {("paid", "none")}


def test_the_number_of_visitors_has_an_end_and_they_come_again(db):
    settings = settings_module.load({})
    load(db, settings)
    traffic = Traffic(db, settings, pay=None)
    for _ in range(5 * VISITORS):
        traffic.step()
    assert 50 < demo_count(db) <= 50 + VISITORS
    expired = build.rows(db, "SELECT count(*) AS n FROM event WHERE type = 'subscription.expired'")
    assert expired[0].n > 0
    assert empty(db, settings, actor=SYSTEM)["customers"] > 50
    assert traffic.step() is None


def test_production_has_no_demo(db):
    production = settings_module.load(
        {"TENURE_ENV": "production", "TENURE_SECRET_KEY": "a key that is long enough to be one"}
    )
    for act in (
        lambda: load(db, production),
        lambda: empty(db, production, actor=SYSTEM),
        lambda: Traffic(db, production, pay=None),
        lambda: stack.additions(production),
    ):
        with pytest.raises(Invalid, match="production"):
            act()


class TestAdditions:
    """What `up --demo` adds to the stack."""

    def test_everything_that_is_not_named_gets_a_stand_in(self, tmp_path):
        added = stack.additions(settings_module.load({}, data_dir=tmp_path))
        assert [role.name for role in added.roles] == [
            "provisioner",
            "mailbox",
            "telegram",
            "chain",
            "demo-traffic",
        ]
        assert set(added.urls) == {"provisioner", "mail", "telegram", "chain_rpc"}
        told = settings_module.load(dict(added.env), data_dir=tmp_path)
        assert told.chains[0].rpc_urls == (added.urls["chain_rpc"],)
        assert told.provisioner_url == added.urls["provisioner"]
        assert [errand.name for errand in added.errands] == ["demo-load"]

    def test_addresses_and_secrets_are_those_of_last_time(self, tmp_path):
        settings = settings_module.load({}, data_dir=tmp_path)
        first, second = stack.additions(settings), stack.additions(settings)
        assert first.env == second.env
        for file in (tmp_path / "demo").iterdir():
            assert file.stat().st_mode & 0o077 == 0

    def test_what_the_settings_name_is_used_instead(self, tmp_path):
        chain = json.loads(settings_with("http://127.0.0.1:9").model_dump_json(include={"chains"}))["chains"]
        given = {
            "TENURE_PROVISIONER_URL": "http://127.0.0.1:1",
            "TENURE_PROVISIONER_SECRET": "x",
            "TENURE_SMTP_URL": "smtp://127.0.0.1:1",
            "TENURE_TELEGRAM_TOKEN": "1:x",
            "TENURE_CHAINS": json.dumps(chain),
        }
        added = stack.additions(settings_module.load(given, data_dir=tmp_path))
        assert [role.name for role in added.roles] == ["demo-traffic"]
        assert (added.env, added.urls) == ({}, {})
