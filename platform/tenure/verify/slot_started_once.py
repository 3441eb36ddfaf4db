"""A slot that started has the iteration of its attempt; one that did not, has none."""

from __future__ import annotations

from typing import Final

from tenure.verify.invariant import Invariant

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
)
