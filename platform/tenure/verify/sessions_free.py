"""Nobody sits on a transaction or a lock: the limits of every connection end that within seconds."""

from __future__ import annotations

from typing import Final

from tenure.verify.invariant import Invariant

INVARIANT: Final = Invariant(
    id="I12",
    title="No session idles in a transaction or waits for a lock for 30 seconds, or keeps a lock while idle",
    checked="SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()",
    broken="""
        SELECT application_name || ' (pid ' || pid || ')' AS id FROM pg_stat_activity a
        WHERE datname = current_database() AND pid <> pg_backend_pid()
          AND ((starts_with(state, 'idle in transaction')
                AND state_change < clock_timestamp() - interval '30 seconds')
               OR (wait_event_type = 'Lock' AND query_start < clock_timestamp() - interval '30 seconds')
               OR (state = 'idle' AND EXISTS (
                   SELECT 1 FROM pg_locks l WHERE l.pid = a.pid AND l.locktype = 'advisory' AND l.granted)))
    """,
)
