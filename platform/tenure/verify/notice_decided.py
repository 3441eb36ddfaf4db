"""A notice whose sender is gone does not stay between planned and sent."""

from __future__ import annotations

from typing import Final

from tenure.verify.invariant import Invariant

INVARIANT: Final = Invariant(
    id="I3b",
    title="No notice is still being sent ten minutes after its sender ended",
    checked="SELECT count(*) FROM notice WHERE state = 'sending'",
    broken="""
        SELECT n.id FROM notice n LEFT JOIN iteration i ON i.id = n.sent_by
        WHERE n.state = 'sending'
          AND (i.id IS NULL OR i.ended_at < clock_timestamp() - interval '10 minutes')
    """,
)
