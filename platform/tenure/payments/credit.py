"""Credit a confirmed payment: ledger, invoice, period, hold and notice in one transaction, once.

This is the only way by which money reaches an invoice. The ledger's unique key (payment, credit) decides who
was first; whoever comes second changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from tenure.errors import BrokenRule
from tenure.events.append import append
from tenure.kit.money import Money
from tenure.payments import invoice_row, ledger
from tenure.payments.close_invoice import close_invoice
from tenure.payments.invoice_row import Invoice, invoice_event
from tenure.payments.ledger import Entry
from tenure.payments.payment_row import IN_FLIGHT, Payment, payment_event, suspend
from tenure.payments.requote import requote
from tenure.payments.rules import InvoiceStatus, Odd, Settlement, settlement
from tenure.subscriptions.announce import Kind, announce
from tenure.subscriptions.credit_period import credit_period
from tenure.subscriptions.holds import release_hold
from tenure.subscriptions.row import Locked
from tenure.subscriptions.rules import Status

_CREDITED: Final = text("""
    UPDATE payment SET credited_at = tenure_now(), note = NULL WHERE id = :id AND credited_at IS NULL
""")


class Outcome(StrEnum):
    """What became of a payment."""

    PAID = "paid"
    PART = "part"
    BALANCE = "balance"
    SUSPENSE = "suspense"
    BEFORE = "before"


@dataclass(frozen=True, slots=True)
class _Case:
    """Everything one payment is about, locked."""

    payment: Payment
    subscription: Locked
    invoice: Invoice
    received: Money
    iteration_id: str | None


def credit(session: Session, payment: Payment, *, iteration_id: str | None = None) -> Outcome:
    """Credit a locked, confirmed payment that is matched to an invoice and whose worth is known.

    A payment for a canceled subscription or a void invoice goes to suspense.
    """
    if payment.invoice_id is None or payment.amount_minor is None or payment.currency is None:
        raise BrokenRule("only a matched payment of known worth can be credited")
    subscription, invoice = invoice_row.lock(session, payment.invoice_id)
    case = _Case(payment, subscription, invoice, Money(payment.amount_minor, payment.currency), iteration_id)
    refusal = _refusal(case)
    if refusal is not None:
        release_hold(session, subscription.id, IN_FLIGHT, payment.id)
        suspend(session, payment, refusal, iteration_id=iteration_id)
        return Outcome.SUSPENSE
    if not _enter_credit(session, case):
        return Outcome.BEFORE
    session.execute(_CREDITED, {"id": payment.id})
    settled = _settle(session, case)
    release_hold(session, subscription.id, IN_FLIGHT, payment.id)
    return settled


def _refusal(case: _Case) -> str | None:
    if case.received.currency != case.invoice.amount.currency:
        return "currency"
    if case.invoice.status in {InvoiceStatus.VOID, InvoiceStatus.DRAFT}:
        return f"invoice_{case.invoice.status}"
    # Money for a paid invoice goes to the balance whatever became of the subscription.
    if case.subscription.state.status is Status.CANCELED and case.invoice.status is not InvoiceStatus.PAID:
        return "subscription_canceled"
    return None


def _is_late(case: _Case) -> bool:
    return case.invoice.status is InvoiceStatus.EXPIRED or case.payment.seen_at > case.invoice.expires_at


def _enter_credit(session: Session, case: _Case) -> bool:
    return ledger.enter(
        session,
        Entry.CREDIT,
        case.received,
        customer_id=case.invoice.customer_id,
        payment_id=case.payment.id,
        iteration_id=case.iteration_id,
    )


def _settle(session: Session, case: _Case) -> Outcome:
    invoice = case.invoice
    done = settlement(
        received=case.received.amount_minor,
        amount=invoice.amount.amount_minor,
        applied_before=ledger.applied(session, invoice.id),
        status=invoice.status,
        odd=invoice.exception,
        late=_is_late(case),
    )
    if done.completes and not _make_room(session, case):
        done = Settlement(0, case.received.amount_minor, completes=False, odd=Odd.LATE)
    if done.applied:
        ledger.enter(
            session,
            Entry.DEBIT,
            Money(-done.applied, invoice.amount.currency),
            customer_id=invoice.customer_id,
            payment_id=case.payment.id,
            invoice_id=invoice.id,
            iteration_id=case.iteration_id,
        )
    after = invoice_row.write(
        session,
        invoice,
        status=InvoiceStatus.PAID if done.completes else invoice.status,
        exception=done.odd,
        paid_minor=invoice.paid_minor + case.received.amount_minor,
    )
    return _tell(session, case, after, done)


def _make_room(session: Session, case: _Case) -> bool:
    """Whether the invoice may become the paid one of its period, which may have another one by now."""
    if case.invoice.status is not InvoiceStatus.EXPIRED:
        return True
    sibling = invoice_row.lock_alive(session, case.subscription.id, case.invoice.period_no)
    if sibling is None:
        return True
    if sibling.status is InvoiceStatus.PAID or sibling.paid_minor > 0:
        return False
    close_invoice(
        session,
        sibling,
        InvoiceStatus.VOID,
        iteration_id=case.iteration_id,
        data={
            "reason": "an earlier invoice of this period was paid late",
            "paid_invoice_id": case.invoice.id,
        },
    )
    return True


def _tell(session: Session, case: _Case, after: Invoice, done: Settlement) -> Outcome:
    payment, id_ = case.payment, case.subscription.id
    outcome = Outcome.PAID if done.completes else Outcome.PART if done.applied else Outcome.BALANCE
    told: dict[str, Any] = {
        "applied_minor": done.applied,
        "to_balance_minor": done.excess,
        "settles": outcome.value,
    }
    events = [
        payment_event(
            "payment.credited", payment, subscription_id=id_, iteration_id=case.iteration_id, data=told
        )
    ]
    if done.completes:
        events.append(
            invoice_event(
                "invoice.paid", after, iteration_id=case.iteration_id, data={"payment_id": payment.id}
            )
        )
    elif done.odd is Odd.UNDERPAID:
        events.append(invoice_event("invoice.underpaid", after, iteration_id=case.iteration_id))
    append(session, events)
    if done.completes:
        credit_period(session, subscription_id=id_, invoice_id=after.id, iteration_id=case.iteration_id)
    elif outcome is Outcome.PART:
        requote(session, after)
    announce(
        session,
        subscription_id=id_,
        kind=Kind.PAYMENT_PROBLEM if done.odd is Odd.UNDERPAID else Kind.PAYMENT_CONFIRMED,
        ref=payment.id,
        data={
            "invoice_id": after.id,
            "number": after.number,
            "amount": case.received.as_dict(),
            "exception": after.exception.value,
            **told,
        },
        iteration_id=case.iteration_id,
    )
    return outcome
