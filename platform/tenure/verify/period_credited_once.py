"""A paid invoice gives its subscription one period; nothing else that was billed does."""

from __future__ import annotations

from typing import Final

from tenure.verify.invariant import Invariant

INVARIANT: Final = Invariant(
    id="I2",
    title="Every paid invoice credited its period exactly once",
    checked="SELECT count(*) FROM invoice",
    broken="""
        SELECT i.id FROM invoice i
        LEFT JOIN (
            SELECT data->>'invoice_id' AS invoice_id, count(*) AS n, min(subscription_id) AS first_of,
                   max(subscription_id) AS last_of
            FROM event
            -- The index of the timelines finds the few events of subscriptions among those of iterations.
            WHERE subscription_id IS NOT NULL
              AND type IN ('subscription.activated', 'subscription.renewed') AND data ? 'invoice_id'
            GROUP BY 1
        ) e ON e.invoice_id = i.id
        WHERE coalesce(e.n, 0) <> CASE i.status WHEN 'paid' THEN 1 ELSE 0 END
           OR e.first_of <> i.subscription_id OR e.last_of <> i.subscription_id
        UNION ALL
        SELECT min(id) FROM invoice WHERE status NOT IN ('void', 'expired')
        GROUP BY subscription_id, period_no, purpose HAVING count(*) > 1
    """,
)
