"""Where the schema stands and where the code wants it, without starting Alembic to learn that.

Only a certain yes skips the migrations; whatever cannot be read means that they run.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psycopg

_REVISION: Final = re.compile(r"^revision(?:\s*:[^=]+)?\s*=\s*[\"'](\w+)[\"']", re.MULTILINE)
_PARENTS: Final = re.compile(r"^down_revision(?:\s*:[^=]+)?\s*=\s*(.+?)(?=^\w)", re.MULTILINE | re.DOTALL)
_QUOTED: Final = re.compile(r"[\"'](\w+)[\"']")


def heads(versions: Path) -> set[str]:
    """The revisions that no other one follows."""
    found: set[str] = set()
    followed: set[str] = set()
    for path in versions.glob("*.py"):
        text = path.read_text(encoding="utf-8")
        found.update(_REVISION.findall(text))
        for parents in _PARENTS.findall(text):
            followed.update(_QUOTED.findall(parents))
    return found - followed


@dataclass(frozen=True, slots=True)
class Schema:
    """The revisions that the database says it has, and those that the code wants."""

    current: frozenset[str]
    wanted: frozenset[str]

    @property
    def is_at_head(self) -> bool:
        """Whether they are the same one."""
        return len(self.wanted) == 1 and self.current == self.wanted


def of(database_url: str, versions: Path) -> Schema:
    """What stands in the database; nothing where there is no schema yet, or no answer."""
    wanted = frozenset(heads(versions))
    try:
        with psycopg.connect(database_url, connect_timeout=5, autocommit=True) as connection:
            # Asked first, because a question about a missing table is an error in the server's log.
            if connection.execute("SELECT to_regclass('alembic_version')").fetchone() == (None,):
                return Schema(frozenset(), wanted)
            rows = connection.execute("SELECT version_num FROM alembic_version").fetchall()
    except psycopg.Error:  # no answer: Alembic will say what is wrong
        return Schema(frozenset(), wanted)
    return Schema(frozenset(row[0] for row in rows), wanted)


def is_at_head(database_url: str, versions: Path) -> bool:
    """Whether the database says that it stands at the one head."""
    return of(database_url, versions).is_at_head
