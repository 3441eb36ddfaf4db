"""The order of events has no holes: a reader that counts on misses nothing."""

from __future__ import annotations

from typing import Final

from tenure.verify.invariant import Invariant

INVARIANT: Final = Invariant(
    id="I9",
    title="The newest ten thousand places in the order of events have no holes",
    checked="SELECT count(*) FROM event_seq WHERE seq > (SELECT max(seq) FROM event_seq) - 10000",
    broken="""
        SELECT event_id AS id FROM (
            SELECT event_id, seq, lag(seq) OVER (ORDER BY seq) AS before FROM event_seq
            -- Old history may be deleted; the newest ten thousand places stay, whatever their age.
            WHERE seq > (SELECT max(seq) FROM event_seq) - 10000
        ) AS placed
        WHERE seq <> before + 1
    """,
)
