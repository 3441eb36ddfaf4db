"""Close an invoice that was not paid: as void or as expired, giving back what was applied to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy.orm import Session

from tenure.errors import BrokenRule
from tenure.events.append import append
from tenure.kit.money import Money
from tenure.payments import invoice_row, ledger
from tenure.payments.invoice_row import Invoice, invoice_event
from tenure.payments.ledger import Entry
from tenure.payments.rules import InvoiceStatus

_EVENTS: Final = {InvoiceStatus.VOID: "invoice.voided", InvoiceStatus.EXPIRED: "invoice.expired"}


def close_invoice(
    session: Session,
    invoice: Invoice,
    status: InvoiceStatus,
    *,
    iteration_id: str | None = None,
    data: Mapping[str, Any] | None = None,
) -> Invoice:
    """The locked open invoice, now void or expired; a part that was paid is back on the balance."""
    if status not in _EVENTS:
        raise BrokenRule(f"an invoice is not closed as {status}")
    part = ledger.applied(session, invoice.id)
    if part > 0:
        ledger.enter(
            session,
            Entry.ADJUSTMENT,
            Money(part, invoice.amount.currency),
            customer_id=invoice.customer_id,
            invoice_id=invoice.id,
            iteration_id=iteration_id,
        )
    closed = invoice_row.write(
        session, invoice, status=status, exception=invoice.exception, paid_minor=invoice.paid_minor
    )
    append(session, [invoice_event(_EVENTS[status], closed, iteration_id=iteration_id, data=data)])
    return closed
