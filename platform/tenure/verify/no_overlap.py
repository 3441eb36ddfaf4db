"""Two runs of the same job and scope never overlap."""

from __future__ import annotations

from typing import Final

from tenure.verify.invariant import Invariant

INVARIANT: Final = Invariant(
    id="I7",
    title="No two iterations of a job and scope ran at the same time",
    checked="SELECT count(*) FROM iteration",
    broken="""
        SELECT id FROM (
            SELECT id, started_at, max(coalesce(ended_at, 'infinity')) OVER (
                       PARTITION BY job, scope ORDER BY started_at, id
                       ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS busy_until
            FROM iteration
        ) AS run
        -- The moment of START is taken before the statement waits for the END that is being written.
        WHERE busy_until > started_at + interval '3 seconds'
    """,
    # Where any two overlap, two neighbours do; and numbers are sorted faster than names.
    sound="""
        SELECT count(*) = 0 FROM (
            SELECT started_at, lag(coalesce(ended_at, 'infinity')) OVER (
                       PARTITION BY hashtextextended(scope, hashtextextended(job, 0)) ORDER BY started_at
                   ) AS busy_until
            FROM iteration
        ) AS run
        WHERE busy_until > started_at + interval '3 seconds'
    """,
)
