"""Take the demo world out again, and nothing else; with it what came unasked on the stand-in's chain.

The event log and the audit stay as they are: they tell what happened, and their order has no holes.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from tenure.audit.record import Actor, record
from tenure.demo.marks import CHAIN, CUSTOMERS, PLANS, refuse_in_production
from tenure.kit.db import Database
from tenure.settings import Settings

_MARK: Final = (
    text("CREATE TEMPORARY TABLE demo_customer (id text PRIMARY KEY) ON COMMIT DROP"),
    text(f"INSERT INTO demo_customer SELECT id FROM customer WHERE {CUSTOMERS}"),
    text("CREATE TEMPORARY TABLE demo_subscription (id text PRIMARY KEY) ON COMMIT DROP"),
    # Locked: whoever works on one of them comes before or after this.
    text("""
        INSERT INTO demo_subscription
        SELECT s.id FROM subscription s JOIN demo_customer d ON d.id = s.customer_id FOR UPDATE OF s
    """),
    text("CREATE TEMPORARY TABLE demo_payment (id text PRIMARY KEY) ON COMMIT DROP"),
    text("""
        INSERT INTO demo_payment
        SELECT p.id FROM payment p LEFT JOIN invoice i ON i.id = p.invoice_id
        WHERE i.customer_id IN (SELECT id FROM demo_customer)
           OR (p.chain = :chain AND p.invoice_id IS NULL)
           OR EXISTS (SELECT 1 FROM ledger_entry l JOIN demo_customer d ON d.id = l.customer_id
                      WHERE l.payment_id = p.id AND p.invoice_id IS NULL)
    """),
)
# The ledger's entries stand for ever where they are about money; these are about play money.
_OPEN_LEDGER: Final = text("ALTER TABLE ledger_entry DISABLE TRIGGER ledger_entry_stands")
_SHUT_LEDGER: Final = text("ALTER TABLE ledger_entry ENABLE TRIGGER ledger_entry_stands")
_OF_DEMO: Final = "customer_id IN (SELECT id FROM demo_customer)"
_FORGET_PAYMENT: Final = text("""
    UPDATE inbound_event SET payment_id = NULL WHERE payment_id IN (SELECT id FROM demo_payment)
""")
# What depends on another comes before it; holds, notices and provisioning go with their subscription.
_REMOVE: Final = (
    ("ledger_entries", f"DELETE FROM ledger_entry WHERE {_OF_DEMO}"),
    ("payments", "DELETE FROM payment WHERE id IN (SELECT id FROM demo_payment)"),
    ("quotes", f"DELETE FROM quote WHERE invoice_id IN (SELECT id FROM invoice WHERE {_OF_DEMO})"),
    ("invoices", f"DELETE FROM invoice WHERE {_OF_DEMO}"),
    ("alerts", "DELETE FROM alert WHERE subject IN (SELECT 'subscription:' || id FROM demo_subscription)"),
    ("subscriptions", "DELETE FROM subscription WHERE id IN (SELECT id FROM demo_subscription)"),
    ("customers", "DELETE FROM customer WHERE id IN (SELECT id FROM demo_customer)"),
    (
        "plans",
        f"""DELETE FROM plan p WHERE {PLANS}
            AND NOT EXISTS (SELECT 1 FROM subscription s WHERE s.plan_code = p.code)""",
    ),
)


def empty(db: Database, settings: Settings, *, actor: Actor) -> dict[str, int]:
    """How many rows of each kind were removed, all in one transaction. Raises Invalid in production.

    A demo plan that somebody else has subscribed to meanwhile stays.
    """
    refuse_in_production(settings)
    with db.transaction() as session:
        for statement in _MARK:
            session.execute(statement, {"chain": CHAIN} if ":chain" in statement.text else {})
        session.execute(_OPEN_LEDGER)
        session.execute(_FORGET_PAYMENT)
        removed = {name: _deleted(session, sql) for name, sql in _REMOVE}
        session.execute(_SHUT_LEDGER)
        if any(removed.values()):
            record(session, actor=actor, action="demo.empty", object_="demo", after=removed)
    return removed


def _deleted(session: Session, sql: str) -> int:
    result: Any = session.execute(text(sql))
    count: int = result.rowcount
    return count
