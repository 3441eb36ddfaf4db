"""Assign a payment from suspense to an invoice, or ignore it: a person decides what the amount could not."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from tenure.audit.record import Actor, record
from tenure.errors import Conflict, IllegalTransition, Invalid
from tenure.events.append import append
from tenure.kit.money import Money
from tenure.payments import invoice_row, payment_row
from tenure.payments.credit import credit
from tenure.payments.invoice_row import Invoice
from tenure.payments.payment_row import IN_FLIGHT, Payment, facts, follow_suspense_alert, payment_event
from tenure.payments.rules import InvoiceStatus, worth
from tenure.settings import Settings
from tenure.subscriptions.holds import place_hold
from tenure.subscriptions.row import Locked
from tenure.subscriptions.rules import Status

_QUOTED_RATE: Final = text("""
    SELECT rate FROM quote WHERE invoice_id = :id AND chain = :chain AND contract = :contract
    ORDER BY id DESC LIMIT 1
""")
_MATCH: Final = text("""
    UPDATE payment SET match = 'matched', invoice_id = :invoice_id, amount_minor = :amount_minor,
                       currency = :currency, note = NULL
    WHERE id = :id
""")
_IGNORE: Final = text("UPDATE payment SET match = 'ignored', note = :reason WHERE id = :id")


class AlreadyMatched(Conflict):
    """This payment is matched already."""

    code = "already_matched"


def assign(session: Session, settings: Settings, payment_id: str, *, invoice_id: str, actor: Actor) -> None:
    """The payment is the invoice's; it is credited now if it is confirmed, otherwise once it is.

    Raises NotFound, AlreadyMatched, IllegalTransition for an invoice or subscription that takes no money, and
    Invalid (`no_rate`, `currency`) when the payment's worth cannot be told.
    """
    payment = payment_row.lock(session, payment_id)
    if payment.match == "matched":
        raise AlreadyMatched(invoice_id=payment.invoice_id)
    if payment.status not in {"seen", "confirmed"}:
        raise IllegalTransition(payment.status, "assign the payment")
    subscription, invoice = _open_for_money(session, invoice_id)
    value = _worth(session, settings, payment, invoice)
    session.execute(
        _MATCH,
        {"id": payment_id, "invoice_id": invoice_id, **value.as_dict()},
    )
    matched = replace(
        payment,
        match="matched",
        invoice_id=invoice_id,
        amount_minor=value.amount_minor,
        currency=value.currency,
        note=None,
    )
    append(session, [payment_event("payment.matched", matched, subscription_id=subscription.id)])
    if payment.status == "confirmed":
        credit(session, matched)
    else:
        place_hold(session, subscription.id, IN_FLIGHT, payment_id)
    record(
        session,
        actor=actor,
        action="payment.assign",
        object_=f"payment:{payment_id}",
        before=facts(payment),
        after=facts(matched),
        subscription_id=subscription.id,
    )
    follow_suspense_alert(session)


def ignore(session: Session, payment_id: str, *, reason: str, actor: Actor) -> None:
    """The payment leaves the suspense list for good reason. Raises NotFound and AlreadyMatched."""
    payment = payment_row.lock(session, payment_id)
    if payment.match == "matched":
        raise AlreadyMatched(invoice_id=payment.invoice_id)
    session.execute(_IGNORE, {"id": payment_id, "reason": reason})
    ignored = replace(payment, match="ignored", note=reason)
    append(session, [payment_event("payment.ignored", ignored, data={"reason": reason})])
    record(
        session,
        actor=actor,
        action="payment.ignore",
        object_=f"payment:{payment_id}",
        before={"match": payment.match, "note": payment.note},
        after={"match": "ignored"},
        reason=reason,
    )
    follow_suspense_alert(session)


def _open_for_money(session: Session, invoice_id: str) -> tuple[Locked, Invoice]:
    subscription, invoice = invoice_row.lock(session, invoice_id)
    if invoice.status in {InvoiceStatus.VOID, InvoiceStatus.DRAFT}:
        raise IllegalTransition(invoice.status, "assign a payment to the invoice")
    if subscription.state.status is Status.CANCELED and invoice.status is not InvoiceStatus.PAID:
        raise IllegalTransition(subscription.state.status, "assign a payment to the subscription")
    return subscription, invoice


def _worth(session: Session, settings: Settings, payment: Payment, invoice: Invoice) -> Money:
    currency = invoice.amount.currency
    if payment.amount_units is None or payment.decimals is None or payment.asset is None:
        if payment.currency != currency or payment.amount_minor is None:
            raise Invalid.field("invoice_id", "currency", f"the payment is not in {currency}")
        return Money(payment.amount_minor, currency)
    quoted = session.execute(
        _QUOTED_RATE, {"id": invoice.id, "chain": payment.chain, "contract": payment.contract}
    ).scalar()
    rate = quoted if quoted is not None else settings.rates.get(payment.asset, {}).get(currency)
    if rate is None:
        raise Invalid.field("invoice_id", "no_rate", f"there is no rate of {payment.asset} in {currency}")
    return Money(
        worth(payment.amount_units, rate=rate, decimals=payment.decimals, currency=currency), currency
    )
