"""An END does not come long after the run's deadline while there was somebody who could have written it."""

from __future__ import annotations

from typing import Final

from tenure.verify.invariant import Invariant

# Longer than a lease, and than what the reaper waits for after a lease.
_LATE: Final = "ended_at > deadline_at + interval '2 minutes'"

INVARIANT: Final = Invariant(
    id="I6e",
    title="No END came more than two minutes after its run's deadline while other runs still started",
    checked="SELECT count(*) FROM iteration WHERE ended_at IS NOT NULL",
    # Where nothing started in between, PostgreSQL or the whole machine was away, and nobody could write.
    broken=f"""
        WITH late AS MATERIALIZED (SELECT id, deadline_at, ended_at FROM iteration WHERE {_LATE}),
             at_work AS MATERIALIZED (
                 SELECT DISTINCT date_trunc('minute', started_at) AS minute FROM iteration)
        SELECT late.id FROM late WHERE EXISTS (
            SELECT 1 FROM at_work
            WHERE minute BETWEEN deadline_at + interval '1 minute' AND ended_at - interval '2 minutes')
    """,
    sound=f"SELECT count(*) = 0 FROM iteration WHERE {_LATE}",
)
