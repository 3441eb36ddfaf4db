"""Resume a paused subscription, or take back its cancellation at the period's end."""

from __future__ import annotations

from sqlalchemy.orm import Session

from tenure.audit.record import Actor
from tenure.subscriptions import rules
from tenure.subscriptions.act import act
from tenure.subscriptions.row import Locked
from tenure.subscriptions.rules import State


def resume(session: Session, subscription_id: str, *, actor: Actor) -> None:
    """Access is on again, and the period ends later by as long as the pause lasted."""

    def rule(row: Locked) -> State:
        return rules.resumed(row.state, row.terms, row.now)

    act(session, subscription_id, rule, name="resume", event="subscription.resumed", actor=actor)
