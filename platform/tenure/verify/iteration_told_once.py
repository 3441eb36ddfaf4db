"""The log tells of each iteration once that it began and once that it ended."""

from __future__ import annotations

from typing import Final

from tenure.verify.invariant import Invariant

INVARIANT: Final = Invariant(
    id="I6d",
    title="Every iteration has exactly one event of its START and one of its END",
    checked="SELECT count(*) FROM iteration",
    broken="""
        WITH told AS (
            SELECT iteration_id, count(*) FILTER (WHERE type = 'iteration.started') AS started,
                   count(*) FILTER (WHERE type = 'iteration.ended') AS ended
            FROM event WHERE type IN ('iteration.started', 'iteration.ended') GROUP BY iteration_id
        )
        SELECT i.id FROM iteration i LEFT JOIN told t ON t.iteration_id = i.id
        WHERE coalesce(t.started, 0) <> 1
           OR coalesce(t.ended, 0) <> CASE WHEN i.ended_at IS NULL THEN 0 ELSE 1 END
        UNION ALL
        SELECT t.iteration_id FROM told t
        WHERE NOT EXISTS (SELECT 1 FROM iteration i WHERE i.id = t.iteration_id)
    """,
    # As `fingerprint` does, with a seed for STARTs and one for ENDs: each table is read once for both.
    sound="""
        SELECT (
            SELECT ROW(count(*) + count(ended_at),
                       coalesce(sum(hashtextextended(id, 1)), 0)
                       + coalesce(sum(hashtextextended(id, 2)) FILTER (WHERE ended_at IS NOT NULL), 0))
            FROM iteration
        ) = (
            SELECT ROW(count(*), coalesce(sum(hashtextextended(
                       iteration_id, CASE type WHEN 'iteration.started' THEN 1 ELSE 2 END)), 0))
            FROM event WHERE type IN ('iteration.started', 'iteration.ended')
        )
    """,
)
