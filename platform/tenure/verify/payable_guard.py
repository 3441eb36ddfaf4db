"""The expiry knows of every invoice that somebody may be paying at this moment."""

from __future__ import annotations

from typing import Final

from tenure.verify.invariant import Invariant

INVARIANT: Final = Invariant(
    id="I4d",
    title="Every subscription knows until when and where it can be paid",
    checked="SELECT count(*) FROM subscription",
    broken="""
        SELECT s.id FROM subscription s
        LEFT JOIN (
            SELECT subscription_id, max(late_until) AS until FROM invoice
            WHERE status = 'open' AND source IS NOT NULL GROUP BY subscription_id
        ) i ON i.subscription_id = s.id
        WHERE s.payable_until IS DISTINCT FROM i.until
           OR (s.payable_source IS NULL) <> (i.until IS NULL)
    """,
)
