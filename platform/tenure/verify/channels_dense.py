"""The history of each object is numbered without holes, in the order of the log."""

from __future__ import annotations

from typing import Final

from tenure.verify.invariant import Invariant

INVARIANT: Final = Invariant(
    id="I9b",
    title="Every object's channel is numbered from 1 without holes, in the order of events",
    checked="SELECT count(*) FROM event_channel",
    broken="""
        SELECT channel AS id FROM (
            SELECT channel, ofs, seq, lag(ofs, 1, 0::bigint) OVER of_channel AS before,
                   lag(seq, 1, 0::bigint) OVER of_channel AS seq_before
            FROM event_channel WINDOW of_channel AS (PARTITION BY channel ORDER BY ofs)
        ) AS placed
        WHERE ofs <> before + 1 OR seq <= seq_before
    """,
)
