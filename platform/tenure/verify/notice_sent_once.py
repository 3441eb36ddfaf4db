"""A customer is told one thing once on one channel."""

from __future__ import annotations

from typing import Final

from tenure.verify.invariant import Invariant

INVARIANT: Final = Invariant(
    id="I3",
    title="No notice was planned or sent twice for the same subscription, kind, stage, reference and channel",
    checked="SELECT count(*) FROM notice",
    broken="""
        SELECT min(id) AS id FROM notice
        GROUP BY subscription_id, kind, stage, ref, channel HAVING count(*) > 1
        UNION ALL
        SELECT id FROM notice WHERE (state = 'sent') <> (sent_at IS NOT NULL)
           OR (state = 'skipped') <> (skipped_reason IS NOT NULL)
    """,
)
