"""What happened is put in order soon."""

from __future__ import annotations

from typing import Final

from tenure.verify.invariant import Invariant

INVARIANT: Final = Invariant(
    id="I10",
    title="No event has waited five minutes for its place in the order",
    checked="SELECT count(*) FROM event_pending",
    broken="""
        SELECT e.id FROM event_pending p JOIN event e ON e.id = p.event_id
        WHERE e.ts < clock_timestamp() - interval '5 minutes'
    """,
)
