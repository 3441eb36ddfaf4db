"""Settle an invoice with money that came outside of every watched source: cash, a bank transfer, a favor."""

from __future__ import annotations

from typing import Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from tenure.audit.record import Actor, record
from tenure.errors import IllegalTransition
from tenure.events.append import append
from tenure.kit.ids import new_id
from tenure.kit.money import Money
from tenure.payments import invoice_row, ledger, payment_row
from tenure.payments.credit import credit
from tenure.payments.invoice_row import facts
from tenure.payments.payment_row import payment_event
from tenure.payments.rules import InvoiceStatus
from tenure.subscriptions.rules import Status

_INSERT: Final = text("""
    INSERT INTO payment (id, provider, provider_ref, amount_minor, currency, invoice_id, status, match, note,
                         seen_at, confirmed_at)
    VALUES (:id, 'manual', :invoice_id, :amount_minor, :currency, :invoice_id, 'confirmed', 'matched',
            :reason, tenure_now(), tenure_now())
""")


def settle(session: Session, invoice_id: str, *, reason: str, actor: Actor) -> str:
    """The invoice is paid by what was missing of it; the payment's id.

    Raises NotFound, and IllegalTransition when the invoice is paid or void, or its subscription canceled.
    """
    subscription, invoice = invoice_row.lock(session, invoice_id)
    if invoice.status not in {InvoiceStatus.OPEN, InvoiceStatus.EXPIRED}:
        raise IllegalTransition(invoice.status, "settle the invoice")
    if subscription.state.status is Status.CANCELED:
        raise IllegalTransition(subscription.state.status, "settle an invoice of this subscription")
    missing = Money(
        invoice.amount.amount_minor - ledger.applied(session, invoice_id), invoice.amount.currency
    )
    payment_id = new_id("pay")
    session.execute(
        _INSERT, {"id": payment_id, "invoice_id": invoice_id, "reason": reason, **missing.as_dict()}
    )
    payment = payment_row.lock(session, payment_id)
    append(session, [payment_event("payment.confirmed", payment, subscription_id=subscription.id)])
    credit(session, payment)
    record(
        session,
        actor=actor,
        action="invoice.settle",
        object_=f"invoice:{invoice_id}",
        before=facts(invoice),
        after={"payment_id": payment_id, "amount": missing.as_dict()},
        reason=reason,
        subscription_id=subscription.id,
    )
    return payment_id
