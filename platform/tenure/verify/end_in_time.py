"""Whatever kills an iteration, somebody writes its END."""

from __future__ import annotations

from typing import Final

from tenure.verify.invariant import Invariant

INVARIANT: Final = Invariant(
    id="I6c",
    title="No iteration is open two minutes past its deadline, or five after its node was gone",
    checked="SELECT count(*) FROM iteration WHERE ended_at IS NULL",
    broken="""
        SELECT i.id FROM iteration i LEFT JOIN node n ON n.id = i.node_id
        WHERE i.ended_at IS NULL
          AND (i.deadline_at < clock_timestamp() - interval '2 minutes'
               OR coalesce(n.stopped_at, n.lease_until, i.started_at)
                  < clock_timestamp() - interval '5 minutes')
          -- After an outage of the server the reaper waits for everybody's sign of life.
          AND pg_postmaster_start_time() < clock_timestamp() - interval '2 minutes'
    """,
)
