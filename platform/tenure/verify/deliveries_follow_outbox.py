"""A delivery that waits has its message in the outbox, one that is decided has none waiting."""

from __future__ import annotations

from typing import Final

from tenure.verify.invariant import Invariant

INVARIANT: Final = Invariant(
    id="I10b",
    title="Every webhook delivery agrees with its message in the outbox",
    checked="SELECT count(*) FROM webhook_delivery",
    broken="""
        SELECT d.id FROM webhook_delivery d
        LEFT JOIN outbox o ON o.dedupe_key = 'webhook:' || d.id
        WHERE (d.state IN ('pending', 'failed')) <> coalesce(o.state = 'ready', false)
           OR (d.state = 'delivered' AND (d.delivered_at IS NULL OR o.state = 'dead'))
        UNION ALL
        SELECT min(id) FROM webhook_delivery GROUP BY endpoint_id, event_id HAVING count(*) > 1
    """,
)
