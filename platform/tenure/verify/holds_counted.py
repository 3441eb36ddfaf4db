"""The counter that the expiry reads is the number of holds."""

from __future__ import annotations

from typing import Final

from tenure.verify.invariant import Invariant

INVARIANT: Final = Invariant(
    id="I4b",
    title="Every subscription counts its holds rightly",
    checked="SELECT count(*) FROM subscription",
    broken="""
        SELECT s.id FROM subscription s
        LEFT JOIN (SELECT subscription_id, count(*) AS n FROM hold GROUP BY subscription_id) h
               ON h.subscription_id = s.id
        WHERE s.holds <> coalesce(h.n, 0)
    """,
)
