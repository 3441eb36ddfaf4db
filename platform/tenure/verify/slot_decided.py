"""Every due time starts or is skipped with a reason."""

from __future__ import annotations

from typing import Final

from tenure.verify.invariant import Invariant

INVARIANT: Final = Invariant(
    id="I8",
    title="No slot waits five minutes past its time, and every skip has its reason",
    checked="SELECT count(*) FROM slot",
    broken="""
        SELECT id FROM slot
        WHERE state = 'pending' AND expires_at < clock_timestamp() - interval '5 minutes'
          AND pg_postmaster_start_time() < clock_timestamp() - interval '5 minutes'
        UNION ALL
        SELECT id FROM slot WHERE (state = 'skipped') <> (reason IS NOT NULL)
           OR (state <> 'pending' AND decided_at IS NULL)
    """,
)
