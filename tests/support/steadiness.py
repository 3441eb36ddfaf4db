"""What must not move while rubbish is thrown at a web process: its rows, its memory, its life."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import psutil
from sqlalchemy import text

from tenure.kit.db import Database
from tests.support.nodes import Node

# Written by the gate itself: when a key was last used, delays after wrong passwords.
_OWN_NOTES = {"api_key": ("last_used_at",)}


def digests(db: Database) -> dict[str, tuple[int, str]]:
    """Each table's number of rows and a digest of all of them."""
    with db.transaction() as session:
        tables = session.execute(
            text("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename")
        ).scalars()
        found = {}
        for table in tables.all():
            left_out = "".join(f" - '{column}'" for column in _OWN_NOTES.get(table, ()))
            row = session.execute(
                text(
                    "SELECT count(*), coalesce(md5(string_agg(r::text, '' ORDER BY r::text)), '') "
                    f'FROM (SELECT to_jsonb(t){left_out} AS r FROM "{table}" t) rows'
                )
            ).one()
            found[table] = (int(row[0]), str(row[1]))
        return found


def worker_of(node: Node) -> psutil.Process:
    """The process that serves: gunicorn's only child."""
    (worker,) = psutil.Process(node.process.pid).children()
    return worker


@contextlib.contextmanager
def nothing_moves(node: Node, db: Database, *, growth: int) -> Iterator[None]:
    """Fail when rows changed, or the process that serves died, logged a fault or grew by more bytes."""
    rows, worker = digests(db), worker_of(node)
    before = worker.memory_info().rss
    yield
    assert worker.is_running()
    assert worker_of(node).pid == worker.pid
    after = digests(db)
    assert {table: (rows[table], after[table]) for table in rows if rows[table] != after[table]} == {}
    faults = [*node.lines("ws.failed"), *node.lines("http.failed")]
    assert faults == [], faults[:1]
    assert worker.memory_info().rss - before < growth
