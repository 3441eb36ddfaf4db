"""Credit one paid period: the only way by which a payment changes a subscription."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy.orm import Session

from tenure.events.append import append, subscription_event
from tenure.kit.times import rfc3339
from tenure.subscriptions import rules
from tenure.subscriptions.access import Priority, refresh
from tenure.subscriptions.row import facts, lock, save
from tenure.subscriptions.rules import Status

_FIRST: Final = frozenset({Status.INCOMPLETE, Status.EXPIRED})


@dataclass(frozen=True, slots=True)
class CreditedPeriod:
    """The period that was paid, and the status that followed."""

    status: str
    period_start: datetime
    period_end: datetime


def credit_period(
    session: Session, *, subscription_id: str, invoice_id: str, iteration_id: str | None = None
) -> CreditedPeriod:
    """Give the subscription the period that the invoice paid for, and its access first in line.

    The caller credits an invoice once. Raises NotFound, and IllegalTransition (a Conflict) when the
    subscription is canceled; nothing is changed then.
    """
    row = lock(session, subscription_id)
    state = rules.paid(row.state, row.terms, row.now)
    start, end = rules.credited_period(state, row.terms)
    save(session, [(row.id, state)])
    type_ = "subscription.activated" if row.state.status in _FIRST else "subscription.renewed"
    data = {
        **facts(state),
        "customer_id": row.customer_id,
        "invoice_id": invoice_id,
        "paid_period_start": rfc3339(start),
        "paid_period_end": rfc3339(end),
    }
    append(session, [subscription_event(type_, row.id, data, iteration_id=iteration_id)])
    refresh(session, [row.id], priority=Priority.PAYMENT, iteration_id=iteration_id)
    return CreditedPeriod(str(state.status), start, end)
