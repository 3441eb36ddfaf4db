"""Pause a subscription."""

from __future__ import annotations

from sqlalchemy.orm import Session

from tenure.audit.record import Actor
from tenure.subscriptions import rules
from tenure.subscriptions.act import act
from tenure.subscriptions.row import Locked
from tenure.subscriptions.rules import State


def pause(session: Session, subscription_id: str, *, actor: Actor) -> None:
    """Access is off, and what remains of the period is kept for `resume`."""

    def rule(row: Locked) -> State:
        return rules.paused(row.state, row.now)

    act(session, subscription_id, rule, name="pause", event="subscription.paused", actor=actor)
