"""Void an invoice that nobody shall pay."""

from __future__ import annotations

from typing import Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from tenure.audit.record import Actor, record
from tenure.errors import Conflict, IllegalTransition
from tenure.payments import invoice_row
from tenure.payments.close_invoice import close_invoice
from tenure.payments.invoice_row import facts
from tenure.payments.rules import InvoiceStatus

_IN_FLIGHT: Final = text("""
    SELECT 1 FROM payment WHERE invoice_id = :id AND credited_at IS NULL AND status IN ('seen', 'confirmed')
    LIMIT 1
""")


def void(session: Session, invoice_id: str, *, actor: Actor, reason: str | None = None) -> None:
    """The open invoice is void; what was paid of it is on the customer's balance.

    Raises NotFound, IllegalTransition when it is not open, and Conflict while a payment for it is in flight.
    """
    _, invoice = invoice_row.lock(session, invoice_id)
    if invoice.status is not InvoiceStatus.OPEN:
        raise IllegalTransition(invoice.status, "void the invoice")
    if session.execute(_IN_FLIGHT, {"id": invoice_id}).first() is not None:
        raise Conflict("a payment for this invoice waits for confirmations", code="payment_in_flight")
    closed = close_invoice(
        session, invoice, InvoiceStatus.VOID, data={"reason": reason} if reason is not None else None
    )
    record(
        session,
        actor=actor,
        action="invoice.void",
        object_=f"invoice:{invoice_id}",
        before=facts(invoice),
        after=facts(closed),
        reason=reason,
        subscription_id=invoice.subscription_id,
    )
