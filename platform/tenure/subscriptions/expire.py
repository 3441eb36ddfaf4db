"""Expire a subscription by an operator's decision, also where a hold keeps the job from doing it."""

from __future__ import annotations

from sqlalchemy.orm import Session

from tenure.audit.record import Actor
from tenure.subscriptions import rules
from tenure.subscriptions.act import act
from tenure.subscriptions.announce import Kind, announce
from tenure.subscriptions.row import Locked, period_ref
from tenure.subscriptions.rules import State


def expire(session: Session, subscription_id: str, *, reason: str, actor: Actor) -> None:
    """Expired with access off, and the customer is told."""

    def rule(row: Locked) -> State:
        return rules.expired(row.state, row.now)

    state = act(
        session,
        subscription_id,
        rule,
        name="expire",
        event="subscription.expired",
        actor=actor,
        reason=reason,
    )
    announce(session, subscription_id=subscription_id, kind=Kind.EXPIRED, ref=period_ref(state))
