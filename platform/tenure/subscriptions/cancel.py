"""Cancel a subscription, now or at the end of its period."""

from __future__ import annotations

from sqlalchemy.orm import Session

from tenure.audit.record import Actor
from tenure.subscriptions import rules
from tenure.subscriptions.act import act
from tenure.subscriptions.row import Locked
from tenure.subscriptions.rules import State


def cancel(session: Session, subscription_id: str, *, at_period_end: bool, actor: Actor) -> None:
    """Canceled with access off at once, or marked to be canceled without grace when its period ends."""
    if at_period_end:
        act(
            session,
            subscription_id,
            lambda row: rules.canceled_at_end(row.state),
            name="cancel",
            event="subscription.cancel_scheduled",
            actor=actor,
        )
        return

    def now(row: Locked) -> State:
        return rules.canceled_now(row.state, row.now)

    act(session, subscription_id, now, name="cancel", event="subscription.canceled", actor=actor)
