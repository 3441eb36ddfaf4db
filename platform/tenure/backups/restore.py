"""Bring a database to what a backup holds, in one transaction."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from sqlalchemy import text

from tenure.audit.record import Actor, record
from tenure.backups import programs
from tenure.backups.programs import Programs
from tenure.errors import Conflict, TenureError, Unavailable
from tenure.kit.db import Database

_LISTED: Final = re.compile(r"^\d+; \d+ \d+ (TABLE|SEQUENCE) (?!DATA |SET )(\S+) (\S+) ", re.MULTILINE)
_PRESENT: Final = text("""
    SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND n.nspname !~ '^pg_'
      AND n.nspname <> 'information_schema'
      AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid = c.oid AND d.deptype IN ('i', 'a', 'e'))
    ORDER BY 1
""")
_ALIVE: Final = text("""
    SELECT name FROM node WHERE stopped_at IS NULL AND lease_until > clock_timestamp() ORDER BY 1
""")


def restore(db: Database, path: Path, *, force: bool, actor: Actor) -> int:
    """The database is what the backup holds; how many tables that are. On any error nothing has changed.

    The file is read through before anything is written. Raises Conflict, unless `force` is given, for a
    database that is not empty or whose processes are alive; also with it for tables that the backup does not
    know, because they could not be told from its own afterwards.
    """
    candidates = programs.fitting(programs.server_major(db))
    tools, listed = _verified(candidates, path)
    present = _present(db)
    _refuse_alive(db, present, force=force)
    if present and not force:
        raise Conflict("the database is not empty; --force replaces what it holds")
    unknown = sorted(present - listed.keys())
    if unknown:
        raise Conflict(
            f"the database has tables that the backup does not know ({', '.join(unknown[:5])}): "
            "restore into an empty database"
        )
    done = tools.run(
        "pg_restore",
        *("--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges"),
        *(("--clean", "--if-exists") if present else ()),
        str(path),
        url=db.url,
    )
    if done.returncode != 0:
        raise Unavailable(f"the restore failed and nothing has changed: {programs.reason(done)}")
    with db.transaction() as session:
        session.execute(text("ANALYZE"))
        record(session, actor=actor, action="restore", object_=f"file:{path.name}")
    return list(listed.values()).count("TABLE")


def _verified(candidates: list[Programs], path: Path) -> tuple[Programs, dict[str, str]]:
    """Programs that can read the whole file, and what it makes: kinds by name. Raises when none can."""
    said = ""
    for tools in candidates:
        listed = tools.run("pg_restore", "--list", str(path))
        # The list is only the head of the file: the data is read and unpacked as well.
        read = (
            tools.run("pg_restore", f"--file={os.devnull}", str(path)) if listed.returncode == 0 else listed
        )
        if read.returncode == 0:
            kinds = {f"{schema}.{name}": kind for kind, schema, name in _LISTED.findall(listed.stdout)}
            if "public.alembic_version" not in kinds:
                raise TenureError(f"{path} is no backup of Tenure", code="not_a_backup")
            return tools, kinds
        said = said or programs.reason(read)
    raise TenureError(f"{path} cannot be read as a backup: {said}", code="damaged")


def _present(db: Database) -> set[str]:
    with db.transaction() as session:
        return set(session.scalars(_PRESENT))


def _refuse_alive(db: Database, present: set[str], *, force: bool) -> None:
    if force or "public.node" not in present:
        return
    with db.transaction() as session:
        alive = list(session.scalars(_ALIVE))
    if alive:
        raise Conflict(f"processes are at work on this database ({', '.join(alive[:5])}): stop them first")
