"""What a person did is in the audit log, once."""

from __future__ import annotations

from typing import Final

from tenure.verify.invariant import Invariant

INVARIANT: Final = Invariant(
    id="I14",
    title="Every act of a person on a subscription, invoice, run or the clock has its one audit entry",
    checked="SELECT count(*) FROM audit",
    # What a job did carries its iteration; the rest was done by somebody.
    broken="""
        WITH act (type, action) AS (VALUES
            ('subscription.created', 'subscription.create'), ('subscription.extended', 'subscription.extend'),
            ('subscription.paused', 'subscription.pause'), ('subscription.resumed', 'subscription.resume'),
            ('subscription.cancel_scheduled', 'subscription.cancel'),
            ('subscription.canceled', 'subscription.cancel'), ('subscription.expired', 'subscription.expire')
        ), told AS (
            SELECT subscription_id, action, count(*) AS n FROM event JOIN act USING (type)
            WHERE subscription_id IS NOT NULL AND iteration_id IS NULL GROUP BY 1, 2
        ), kept AS (
            SELECT subscription_id, action, count(*) AS n FROM audit
            WHERE subscription_id IS NOT NULL AND action IN (SELECT action FROM act) GROUP BY 1, 2
        )
        SELECT s.id FROM told FULL JOIN kept USING (subscription_id, action)
        JOIN subscription s ON s.id = subscription_id
        WHERE told.n IS DISTINCT FROM kept.n
        UNION ALL
        SELECT p.id FROM payment p LEFT JOIN audit a
            ON a.action = 'invoice.settle' AND a.after->>'payment_id' = p.id
        WHERE p.provider = 'manual' GROUP BY p.id HAVING count(a.id) <> 1
        UNION ALL
        SELECT s.id FROM slot s LEFT JOIN audit a ON a.action = 'job.run' AND a.object = s.id
        WHERE s.user_id IS NOT NULL GROUP BY s.id HAVING count(a.id) <> 1
        UNION ALL
        SELECT 'clock:domain' FROM domain_clock
        WHERE extract(epoch FROM ahead) <> coalesce((
            SELECT (after->>'offset_s')::numeric FROM audit WHERE object = 'clock:domain'
            ORDER BY id DESC LIMIT 1), 0)
    """,
)
