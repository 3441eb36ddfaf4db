"""What is held for a time is not held for ever: a lease that reached far ahead would hide a death."""

from __future__ import annotations

from typing import Final

from tenure.verify.invariant import Invariant

INVARIANT: Final = Invariant(
    id="I12b",
    title="No lease of a process reaches further ahead than the longest lease lasts",
    checked="SELECT (SELECT count(*) FROM node WHERE stopped_at IS NULL) + (SELECT count(*) FROM lease)",
    # Ten minutes is the most that the settings allow.
    broken="""
        SELECT id FROM node
        WHERE stopped_at IS NULL AND lease_until > clock_timestamp() + interval '11 minutes'
        UNION ALL
        SELECT name FROM lease WHERE lease_until > clock_timestamp() + interval '11 minutes'
    """,
)
