"""Extend a subscription's period."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from sqlalchemy.orm import Session

from tenure.audit.record import Actor
from tenure.errors import Invalid
from tenure.subscriptions import rules
from tenure.subscriptions.act import act
from tenure.subscriptions.row import Locked
from tenure.subscriptions.rules import State

MOST_HOURS: Final = 87_600


def extend(session: Session, subscription_id: str, *, hours: int, reason: str, actor: Actor) -> None:
    """The period ends so many hours later; later periods follow from there."""
    if not 0 < hours <= MOST_HOURS:
        raise Invalid.field("hours", "range", f"1 to {MOST_HOURS}")

    def rule(row: Locked) -> State:
        return rules.extended(row.state, row.terms, timedelta(hours=hours), row.now)

    act(
        session,
        subscription_id,
        rule,
        name="extend",
        event="subscription.extended",
        actor=actor,
        reason=reason,
        data={"hours": hours},
    )
