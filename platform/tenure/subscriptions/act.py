"""What every act of an operator has in common: lock, ask the rules, save, tell, bring access in line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy.orm import Session

from tenure.audit.record import Actor, record
from tenure.events.append import append, subscription_event
from tenure.subscriptions.access import Priority, refresh
from tenure.subscriptions.row import Locked, facts, lock, save
from tenure.subscriptions.rules import State


def act(
    session: Session,
    subscription_id: str,
    rule: Callable[[Locked], State],
    *,
    name: str,
    event: str,
    actor: Actor,
    reason: str | None = None,
    data: Mapping[str, Any] | None = None,
) -> State:
    """The state that the rule made of the subscription, saved with its audit entry, event and access.

    Raises NotFound, and IllegalTransition as the rule says. A rule that changes nothing leaves no trace.
    """
    row = lock(session, subscription_id)
    state = rule(row)
    if state == row.state:
        return state
    save(session, [(row.id, state)])
    told = {**facts(state), "customer_id": row.customer_id, **(data or {})}
    if reason is not None:
        told["reason"] = reason
    append(session, [subscription_event(event, row.id, told)])
    refresh(session, [row.id], priority=Priority.ACT)
    record(
        session,
        actor=actor,
        action=f"subscription.{name}",
        object_=f"subscription:{row.id}",
        before=facts(row.state),
        after=facts(state),
        reason=reason,
        subscription_id=row.id,
    )
    return state
