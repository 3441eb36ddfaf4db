"""A full disk: everything of the stack lies on it; proved by a write that is refused."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Final

import psycopg

from tenure.chaos.field import Field
from tenure.chaos.plan import Step

_CHUNK: Final = bytes(65_536)
_REFUSED_S: Final = 20.0
_TRY: Final = (
    b"CREATE TABLE chaos_full AS SELECT repeat(md5(n::text), 200) AS x FROM generate_series(1, 20000) AS n"
)


def strike(field: Field, step: Step) -> None:
    """Fill the disk for a while, then free it; proved by PostgreSQL, which cannot write or is gone."""
    filler = field.stack.folder / "filler"
    written = _fill(filler)
    try:
        refused = field.until(lambda: _refusal(field.stack.superuser_url), within_s=_REFUSED_S)
        field.wait(step.for_s)
        _fill(filler)  # what was freed meanwhile, by a log that was turned over
        free = os.statvfs(field.stack.folder).f_bavail
    finally:
        filler.unlink(missing_ok=True)
    field.record(
        "disk_full",
        step.targets[0],
        happened=bool(refused),
        filled_mb=written // 1_000_000,
        free_blocks=free,
        postgres=refused,
        for_s=step.for_s,
    )


def _fill(path: Path) -> int:
    """Write until the disk takes no more; the bytes that it took."""
    written = 0
    with path.open("ab", buffering=0) as file:
        while True:
            try:
                written += file.write(_CHUNK)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                return written


def _refusal(url: str) -> str | None:
    """How PostgreSQL refuses to write; None when it does not."""
    try:
        with psycopg.connect(url, autocommit=True, connect_timeout=3) as server:
            server.execute(_TRY)
            server.execute(b"DROP TABLE chaos_full")
    except psycopg.Error as error:
        return f"{type(error).__name__} {error.sqlstate or ''}".strip()
    return None
