"""An invariant: a sentence that must hold, and the statement that finds what breaks it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.orm import Session

_MOST_SAMPLES: Final = 5

# One statement is one snapshot: what is counted and what is shown belong together.
_CHECK: Final = """
    WITH broken AS MATERIALIZED (SELECT DISTINCT id FROM ({broken}) AS found)
    SELECT ({checked}) AS checked, (SELECT count(*) FROM broken) AS violated,
           ARRAY(SELECT id FROM broken ORDER BY id LIMIT :most) AS samples
"""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found: how many objects were looked at, how many break the invariant, and the first few."""

    id: str
    title: str
    checked: int
    violated: int
    samples: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """As the command shows it."""
        return {
            "id": self.id,
            "title": self.title,
            "checked": self.checked,
            "violated": self.violated,
            "samples": list(self.samples),
        }


@dataclass(frozen=True, slots=True)
class Invariant:
    """One thing that must hold.

    `checked` is a query of one number: how many objects the sentence speaks of. `broken` is a query of one
    column `id`: every object that breaks it.
    """

    id: str
    title: str
    checked: str
    broken: str

    def check(self, session: Session) -> Verdict:
        """What stands now, from one statement."""
        statement = text(_CHECK.format(checked=self.checked, broken=self.broken))
        row = session.execute(statement, {"most": _MOST_SAMPLES}).one()
        return Verdict(self.id, self.title, row.checked, row.violated, tuple(row.samples))
