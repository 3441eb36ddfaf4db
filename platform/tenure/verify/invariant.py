"""An invariant: a sentence that must hold, and the statement that finds what breaks it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.orm import Session

_MOST_SAMPLES: Final = 5

# Asked first, because several processes of the server can count together, but not list.
_NOTHING_BROKEN: Final = "SELECT count(*) = 0 FROM ({broken}) AS found"
_BROKEN: Final = """
    WITH broken AS MATERIALIZED (SELECT DISTINCT id FROM ({broken}) AS found)
    SELECT (SELECT count(*) FROM broken) AS violated,
           ARRAY(SELECT id FROM broken ORDER BY id LIMIT :most) AS samples
"""


def fingerprint(table: str, column: str, *, where: str = "true") -> str:
    """A query of one row that is the same for two collections of ids when they are the same.

    It is their number and the sum of 64-bit hashes: collections that differ agree in it once in 2^64 times.
    It costs one reading of each table, where comparing millions of ids one by one costs many.
    """
    return f"SELECT ROW(count(*), coalesce(sum(hashtextextended({column}, 0)), 0)) FROM {table} WHERE {where}"


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
    column `id`: every object that breaks it. Where that is dear, `sound` is a cheaper query of one boolean:
    when it is true nothing is broken, and otherwise `broken` finds what is.
    """

    id: str
    title: str
    checked: str
    broken: str
    sound: str | None = None

    def check(self, session: Session) -> Verdict:
        """What stands in the session's snapshot: its transaction must be one of repeatable reads."""
        checked = int(session.execute(text(self.checked)).scalar_one())
        sound = self.sound or _NOTHING_BROKEN.format(broken=self.broken)
        if session.execute(text(sound)).scalar_one() is True:
            return Verdict(self.id, self.title, checked, 0, ())
        row = session.execute(text(_BROKEN.format(broken=self.broken)), {"most": _MOST_SAMPLES}).one()
        return Verdict(self.id, self.title, checked, row.violated, tuple(row.samples))
