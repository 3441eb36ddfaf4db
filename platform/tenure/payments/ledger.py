"""The ledger of money: entries are only added, and their sum is the customer's balance.

A payment is a credit; what pays for an invoice is a debit that names it. Where an invoice ends unpaid, what
was applied to it is given back by an adjustment that names it too: the entries that name an invoice always
sum up to minus what is applied to it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from tenure.kit.ids import new_id
from tenure.kit.money import Money


class Entry(StrEnum):
    """Kinds of entries."""

    CREDIT = "credit"
    DEBIT = "debit"
    REVERSAL = "reversal"
    REFUND = "refund"
    ADJUSTMENT = "adjustment"


_ENTER: Final = text("""
    INSERT INTO ledger_entry (id, customer_id, payment_id, invoice_id, kind, amount_minor, currency,
                              iteration_id)
    VALUES (:id, :customer_id, :payment_id, :invoice_id, :kind, :amount_minor, :currency, :iteration_id)
    ON CONFLICT DO NOTHING RETURNING id
""")
_APPLIED: Final = text("SELECT -coalesce(sum(amount_minor), 0) FROM ledger_entry WHERE invoice_id = :id")
_BALANCE: Final = text("""
    SELECT coalesce(sum(amount_minor), 0) FROM ledger_entry
    WHERE customer_id = :customer_id AND currency = :currency
""")
_LOCK_CUSTOMER: Final = text("SELECT 1 FROM customer WHERE id = :id FOR NO KEY UPDATE")


def enter(
    session: Session,
    kind: Entry,
    amount: Money,
    *,
    customer_id: str,
    payment_id: str | None = None,
    invoice_id: str | None = None,
    iteration_id: str | None = None,
) -> bool:
    """Add an entry; False when there is one of this kind for this payment already, which then stands."""
    row = session.execute(
        _ENTER,
        {
            "id": new_id("led"),
            "customer_id": customer_id,
            "payment_id": payment_id,
            "invoice_id": invoice_id,
            "kind": kind.value,
            "amount_minor": amount.amount_minor,
            "currency": amount.currency,
            "iteration_id": iteration_id,
        },
    )
    return row.first() is not None


def applied(session: Session, invoice_id: str) -> int:
    """What is applied to the invoice now, in minor units."""
    return int(session.execute(_APPLIED, {"id": invoice_id}).scalar_one())


def locked_balance(session: Session, customer_id: str, currency: str) -> int:
    """The customer's balance, which nobody else spends before this transaction ends."""
    session.execute(_LOCK_CUSTOMER, {"id": customer_id})
    return balance(session, customer_id, currency)


def balance(session: Session, customer_id: str, currency: str) -> int:
    """The customer's balance in this currency, in minor units."""
    return int(session.execute(_BALANCE, {"customer_id": customer_id, "currency": currency}).scalar_one())
