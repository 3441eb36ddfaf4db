"""An event has its place or waits for it: none is lost, none is told twice."""

from __future__ import annotations

from typing import Final

from tenure.verify.invariant import Invariant, fingerprint

_PLACED: Final = "(SELECT event_id FROM event_seq UNION ALL SELECT event_id FROM event_pending) AS placed"

INVARIANT: Final = Invariant(
    id="I9c",
    title="Every event is either in the order or waiting for its place, once",
    checked="SELECT count(*) FROM event",
    broken="""
        SELECT e.id FROM event e
        LEFT JOIN event_seq s ON s.event_id = e.id
        LEFT JOIN event_pending p ON p.event_id = e.id
        WHERE (s.event_id IS NULL) = (p.event_id IS NULL)
        UNION ALL
        SELECT p.event_id FROM event_pending p
        WHERE NOT EXISTS (SELECT 1 FROM event e WHERE e.id = p.event_id AND e.n = p.n)
        UNION ALL
        SELECT event_id FROM event_seq GROUP BY event_id HAVING count(*) > 1
    """,
    sound=f"""
        SELECT ({fingerprint("event", "id")}) = ({fingerprint(_PLACED, "event_id")})
           AND NOT EXISTS (
               SELECT 1 FROM event_pending p
               WHERE NOT EXISTS (SELECT 1 FROM event e WHERE e.id = p.event_id AND e.n = p.n))
    """,
)
