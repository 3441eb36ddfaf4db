"""The jobs end access at its end and not before; a person may."""

from __future__ import annotations

from typing import Final

from tenure.verify.invariant import Invariant

INVARIANT: Final = Invariant(
    id="I4",
    title="No job ended access before its time",
    checked="SELECT count(*) FROM subscription WHERE status IN ('expired', 'canceled')",
    broken="""
        SELECT s.id FROM subscription s
        CROSS JOIN LATERAL (
            SELECT e.iteration_id FROM event e
            WHERE e.subscription_id = s.id
              AND e.type IN ('subscription.expired', 'subscription.canceled', 'subscription.imported')
            ORDER BY e.id DESC LIMIT 1
        ) AS last
        WHERE s.status IN ('expired', 'canceled') AND s.ended_at < s.access_until
          AND last.iteration_id IS NOT NULL
    """,
)
