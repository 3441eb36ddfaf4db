"""Export subscriptions to a CSV file that `import` takes, and finds nothing to change in."""

from __future__ import annotations

import csv
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, TextIO

from sqlalchemy import text
from sqlalchemy.orm import Session

from tenure.audit.record import Actor, record
from tenure.imports.rules import COLUMNS, guarded
from tenure.imports.staging import SPEAKABLE
from tenure.kit.db import Database
from tenure.kit.times import rfc3339

_CHUNK: Final = 2000
# The same choice that the import makes: of one customer's subscriptions to one plan the newest.
_ROWS: Final = text(f"""
    SELECT DISTINCT ON (c.external_id, s.plan_code) c.external_id, c.email, c.telegram_chat_id, s.plan_code,
           s.status, s.period_start, s.period_end, s.auto_renew
    FROM subscription s JOIN customer c ON c.id = s.customer_id
    WHERE {SPEAKABLE}
    ORDER BY c.external_id, s.plan_code, s.id DESC
""")
_ALL: Final = text("SELECT count(*) FROM subscription")


@dataclass(frozen=True, slots=True)
class Exported:
    """How many rows were written, and how many subscriptions the format cannot speak of.

    Those are the ones that were never paid, are paused, or have a newer one of the same plan.
    """

    rows: int
    left_out: int

    def as_dict(self) -> dict[str, int]:
        return asdict(self)


def export_file(
    db: Database, path: Path, *, actor: Actor, on_progress: Callable[[], None] = lambda: None
) -> Exported:
    """Write the file as of one moment: whole or not at all, readable by its owner alone."""
    with db.transaction() as session, _whole(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        rows = 0
        for row in _rows(session):
            writer.writerow([guarded(_cell(value)) for value in row])
            rows += 1
            if rows % _CHUNK == 0:
                on_progress()
        done = Exported(rows, session.execute(_ALL).scalar_one() - rows)
        record(session, actor=actor, action="export", object_=f"file:{path.name}", after=done.as_dict())
    return done


def _rows(session: Session) -> Iterator[Any]:
    # A cursor at the server: the rows are never here all at once.
    options = {"stream_results": True, "yield_per": _CHUNK}
    yield from session.execute(_ROWS, execution_options=options)


def _cell(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case str():
            return value
        case _:
            return rfc3339(value) or ""


@contextmanager
def _whole(path: Path) -> Iterator[TextIO]:
    """A draft beside the path that takes its place when the block ends well, and is gone otherwise."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    draft = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            yield file
        draft.replace(path)
    except BaseException:  # an interrupt as well: half a file is left nowhere
        draft.unlink(missing_ok=True)
        raise
