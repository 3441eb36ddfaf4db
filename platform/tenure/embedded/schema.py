"""Whether the schema is already at head: a restart need not start Alembic to learn that.

Only a certain yes skips the migrations; whatever cannot be read means that they run.
"""

from __future__ import annotations

import re
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


def is_at_head(database_url: str, versions: Path) -> bool:
    """Whether the database says that it stands at the one head."""
    wanted = heads(versions)
    try:
        with psycopg.connect(database_url, connect_timeout=5, autocommit=True) as connection:
            rows = connection.execute("SELECT version_num FROM alembic_version").fetchall()
    except psycopg.Error:  # no table yet, or no answer: Alembic will say what is wrong
        return False
    return len(wanted) == 1 and {row[0] for row in rows} == wanted
