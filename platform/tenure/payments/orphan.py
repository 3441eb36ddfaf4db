"""Take back payments whose blocks are no longer part of their chain.

One that only waited for confirmations is orphaned and holds nothing any more. One that was credited is
reversed: the ledger gets the opposite entry, the invoice says so, and a person is alerted; access is not
taken away by itself. Both come back when their transaction is mined again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import RowMapping, text
from sqlalchemy.orm import Session

from tenure.alerts.raise_alert import raise_alert, resolve_alert
from tenure.events.append import append
from tenure.kit.money import Money
from tenure.payments import invoice_row, ledger
from tenure.payments.ledger import Entry
from tenure.payments.payment_row import (
    COLUMNS,
    IN_FLIGHT,
    Payment,
    follow_suspense_alert,
    payment_event,
    payment_from,
)
from tenure.payments.ports import Transfer
from tenure.payments.rules import Odd
from tenure.subscriptions.holds import release_hold

REVERSED_RULE: Final = "payment_reversed"

_VANISHED: Final = text(f"""
    SELECT {COLUMNS}, i.subscription_id FROM payment p LEFT JOIN invoice i ON i.id = p.invoice_id
    WHERE p.chain = :chain AND p.block_number > :fork AND p.status = ANY(:statuses)
      AND NOT EXISTS (
          SELECT 1 FROM jsonb_to_recordset(CAST(:there AS jsonb)) AS t(tx_hash text, ordinal integer)
          WHERE t.tx_hash = p.tx_hash AND t.ordinal = p.ordinal)
    ORDER BY i.subscription_id NULLS FIRST, p.id FOR UPDATE OF p
""")
_MARK: Final = text("""
    UPDATE payment SET status = :status, confirmations = 0 WHERE id = :id
""")


def orphan(
    session: Session,
    chain: str,
    *,
    fork: int,
    there: Sequence[Transfer],
    whole_ring: bool = False,
    iteration_id: str | None = None,
) -> int:
    """Every payment above the fork that is not `there` any more is taken back; how many were.

    With `whole_ring` nothing is known of where the chain was rewritten: only payments that were not
    confirmed are taken back then, because the node may simply be a wrong one.
    """
    rows = session.execute(
        _VANISHED,
        {
            "chain": chain,
            "fork": fork,
            "statuses": ["seen"] if whole_ring else ["seen", "confirmed"],
            "there": json.dumps([{"tx_hash": one.tx_hash, "ordinal": one.ordinal} for one in there]),
        },
    ).mappings()
    found = [_split(row) for row in rows.all()]
    for payment, subscription_id in found:
        if payment.status == "confirmed":
            _reverse(session, payment, subscription_id, iteration_id)
        else:
            _orphan(session, payment, subscription_id, iteration_id)
    if any(payment.match == "unmatched" for payment, _ in found):
        follow_suspense_alert(session)
    return len(found)


def restore(session: Session, payment: Payment, *, iteration_id: str | None = None) -> None:
    """A reversed payment was mined again and is confirmed: its money counts again, once."""
    if payment.invoice_id is None or payment.amount_minor is None or payment.currency is None:
        return
    subscription, invoice = invoice_row.lock(session, payment.invoice_id)
    entered = ledger.enter(
        session,
        Entry.ADJUSTMENT,
        Money(payment.amount_minor, payment.currency),
        customer_id=invoice.customer_id,
        payment_id=payment.id,
        iteration_id=iteration_id,
    )
    release_hold(session, subscription.id, IN_FLIGHT, payment.id)
    if not entered:
        # The second time its block vanished: the ledger cannot tell the two apart, a person can.
        return
    invoice_row.write(
        session, invoice, status=invoice.status, exception=Odd.NONE, paid_minor=invoice.paid_minor
    )
    append(
        session,
        [
            payment_event(
                "payment.restored", payment, subscription_id=subscription.id, iteration_id=iteration_id
            )
        ],
    )
    resolve_alert(session, rule=REVERSED_RULE, subject=f"payment:{payment.id}")


def _split(row: RowMapping) -> tuple[Payment, str | None]:
    values: dict[str, Any] = dict(row)
    subscription_id: str | None = values.pop("subscription_id")
    return payment_from(values), subscription_id


def _orphan(
    session: Session, payment: Payment, subscription_id: str | None, iteration_id: str | None
) -> None:
    session.execute(_MARK, {"id": payment.id, "status": "orphaned"})
    if subscription_id is not None:
        release_hold(session, subscription_id, IN_FLIGHT, payment.id)
    append(
        session,
        [
            payment_event(
                "payment.orphaned", payment, subscription_id=subscription_id, iteration_id=iteration_id
            )
        ],
    )


def _reverse(
    session: Session, payment: Payment, subscription_id: str | None, iteration_id: str | None
) -> None:
    session.execute(_MARK, {"id": payment.id, "status": "reversed"})
    append(
        session,
        [
            payment_event(
                "payment.reversed", payment, subscription_id=subscription_id, iteration_id=iteration_id
            )
        ],
    )
    if payment.invoice_id is not None and payment.credited_at is not None:
        _, invoice = invoice_row.lock(session, payment.invoice_id)
        if payment.amount_minor is not None and payment.currency is not None:
            ledger.enter(
                session,
                Entry.REVERSAL,
                Money(-payment.amount_minor, payment.currency),
                customer_id=invoice.customer_id,
                payment_id=payment.id,
                iteration_id=iteration_id,
            )
        invoice_row.write(
            session, invoice, status=invoice.status, exception=Odd.REVERSED, paid_minor=invoice.paid_minor
        )
        _alert(session, payment)


def _alert(session: Session, payment: Payment) -> None:
    raise_alert(
        session,
        rule=REVERSED_RULE,
        subject=f"payment:{payment.id}",
        severity="critical",
        message=f"payment {payment.id} was credited and its block is gone: {payment.chain} {payment.tx_hash}",
        data={"payment_id": payment.id, "invoice_id": payment.invoice_id},
    )
