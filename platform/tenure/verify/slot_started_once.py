"""A slot that started has the iteration of its attempt; one that did not, has none."""

from __future__ import annotations

from typing import Final

from tenure.verify.invariant import Invariant, fingerprint

_OF_THE_LAST_ATTEMPT: Final = (
    "NOT EXISTS (SELECT 1 FROM retried r WHERE r.id = i.slot_id AND r.attempt > i.attempt)"
)

INVARIANT: Final = Invariant(
    id="I6",
    title="Every started slot has exactly one iteration of its attempt, every other slot none",
    checked="SELECT count(*) FROM slot",
    broken="""
        SELECT s.id FROM slot s
        LEFT JOIN iteration i ON i.slot_id = s.id AND i.attempt >= s.attempt
        GROUP BY s.id, s.state, s.attempt
        HAVING count(i.id) <> CASE s.state WHEN 'started' THEN 1 ELSE 0 END
        UNION ALL
        SELECT slot_id FROM iteration GROUP BY slot_id, attempt HAVING count(*) > 1
    """,
    # A slot that is tried again has iterations of earlier attempts: those few are looked at one by one.
    sound=f"""
        WITH retried AS MATERIALIZED (SELECT id, attempt FROM slot WHERE attempt > 1),
             again AS MATERIALIZED (
                 SELECT i.slot_id, i.attempt FROM iteration i JOIN retried r ON r.id = i.slot_id)
        SELECT ({fingerprint("slot", "id", where="state = 'started'")})
             = ({fingerprint("iteration i", "slot_id", where=_OF_THE_LAST_ATTEMPT)})
           AND NOT EXISTS (SELECT 1 FROM again GROUP BY slot_id, attempt HAVING count(*) > 1)
    """,
)
