"""PostgreSQL has connections left for whoever must still come in, such as the operator with this command."""

from __future__ import annotations

from typing import Final

from tenure.verify.invariant import Invariant

INVARIANT: Final = Invariant(
    id="I13",
    title="The server has a tenth of its connections left",
    checked="SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'",
    # Named are the applications that hold the most.
    broken="""
        SELECT application_name || ': ' || count(*) AS id
        FROM pg_stat_activity WHERE backend_type = 'client backend'
        GROUP BY application_name
        HAVING (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')
             > 0.9 * (current_setting('max_connections')::int
                      - current_setting('superuser_reserved_connections')::int)
    """,
)
