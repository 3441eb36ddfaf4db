"""Write the whole database to one file, as of one moment."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from tenure.audit.record import Actor, record
from tenure.backups import programs
from tenure.errors import Conflict, Unavailable
from tenure.kit.db import Database


def back_up(db: Database, path: Path, *, force: bool, actor: Actor) -> int:
    """The file is there, whole and readable by its owner alone; its size in bytes.

    It takes its place in one step, so a backup that was interrupted leaves nothing, and an older file stays
    until the new one is whole. Raises Conflict when a file is there and `force` is not given, Unavailable
    when PostgreSQL or its programs fail.
    """
    _refuse_existing(path, force=force)
    tools = programs.fitting(programs.server_major(db))[0]
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(descriptor)
    draft = Path(name)
    try:
        done = tools.run(
            "pg_dump", "--format=custom", "--no-owner", "--no-privileges", f"--file={draft}", url=db.url
        )
        if done.returncode != 0:
            raise Unavailable(f"the backup failed: {programs.reason(done)}")
        size = draft.stat().st_size
        _refuse_existing(path, force=force)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    with db.transaction() as session:
        record(session, actor=actor, action="backup", object_=f"file:{path.name}", after={"bytes": size})
    return size


def _refuse_existing(path: Path, *, force: bool) -> None:
    if path.exists() and not force:
        raise Conflict(f"{path} exists; --force overwrites it")
