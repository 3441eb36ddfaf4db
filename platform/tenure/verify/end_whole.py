"""An END is written whole, after its START."""

from __future__ import annotations

from typing import Final

from tenure.verify.invariant import Invariant

INVARIANT: Final = Invariant(
    id="I6b",
    title="Every END has its moment, outcome and writer, and lies after its START",
    checked="SELECT count(*) FROM iteration",
    broken="""
        SELECT id FROM iteration
        WHERE (ended_at IS NULL) <> (outcome IS NULL) OR (ended_at IS NULL) <> (ended_by IS NULL)
           -- A server's clock may be set back a little between the two.
           OR ended_at < started_at - interval '2 seconds'
           OR (outcome = 'ok' AND error_type IS NOT NULL)
           OR (outcome IN ('failed', 'timed_out', 'killed', 'lost') AND error_type IS NULL)
    """,
)
