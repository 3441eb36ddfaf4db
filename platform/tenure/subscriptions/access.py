"""The one place where desired access changes: it follows from the subscription and its customer.

Callers hold the row locks of the subscriptions, taken by an earlier statement, so that what is read here is
what stands. Afterwards each provisioning row says what the provisioner shall be told, under a generation
that rose by one exactly when something of it changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from tenure.events.append import NewEvent, append, subscription_event
from tenure.kit.times import rfc3339


class Priority(IntEnum):
    """Who goes first at the provisioner: a payer, then a person's act, then bulk work."""

    PAYMENT = 0
    ACT = 1
    BULK = 2


# Rows are locked in the order of their ids, as the reconciler does, so that two never wait for each other.
# An account that was never on (generation 0) is not told of until it is on for the first time.
_REFRESH: Final = text("""
    WITH wanted AS (
        SELECT s.id, s.status IN ('trialing', 'active', 'past_due') AS enabled, s.access_until, s.plan_code,
               c.external_id, c.email, s.customer_id
        FROM subscription s JOIN customer c ON c.id = s.customer_id WHERE s.id = ANY(:ids)
    ), before AS (
        SELECT p.subscription_id, p.enabled FROM provisioning p WHERE p.subscription_id = ANY(:ids)
        ORDER BY p.subscription_id FOR NO KEY UPDATE
    )
    UPDATE provisioning p
    SET enabled = w.enabled, access_until = w.access_until, plan_code = w.plan_code,
        external_id = w.external_id, email = w.email,
        desired_generation = p.desired_generation + 1, state = 'pending', attempts = 0,
        next_at = clock_timestamp(), last_error = NULL,
        priority = CASE WHEN p.state = 'pending' THEN least(p.priority, :priority) ELSE :priority END
    FROM wanted w JOIN before b ON b.subscription_id = w.id
    WHERE p.subscription_id = w.id
      AND (p.desired_generation > 0 OR w.enabled)
      AND (p.desired_generation = 0
           OR (p.enabled, p.access_until, p.plan_code, p.external_id, p.email)
              IS DISTINCT FROM (w.enabled, w.access_until, w.plan_code, w.external_id, w.email))
    RETURNING p.subscription_id, p.enabled, p.access_until, p.external_id, p.desired_generation,
              w.customer_id, b.enabled <> p.enabled AS flipped
""")


def refresh(
    session: Session, ids: Sequence[str], *, priority: Priority, iteration_id: str | None = None
) -> int:
    """Bring desired access in line with the subscriptions; the number of generations that rose.

    `entitlement.changed` is appended where access was switched on or off.
    """
    if not ids:
        return 0
    changed = session.execute(_REFRESH, {"ids": list(ids), "priority": int(priority)}).all()
    append(session, (_flip_event(row, iteration_id) for row in changed if row.flipped))
    return len(changed)


def _flip_event(row: Any, iteration_id: str | None) -> NewEvent:
    return subscription_event(
        "entitlement.changed",
        row.subscription_id,
        {
            "entitled": row.enabled,
            "access_until": rfc3339(row.access_until),
            "customer_id": row.customer_id,
            "external_id": row.external_id,
            "generation": row.desired_generation,
        },
        iteration_id=iteration_id,
    )
