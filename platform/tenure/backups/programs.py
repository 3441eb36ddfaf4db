"""PostgreSQL's client programs: which ones fit a server, and how they are run without showing a password."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from psycopg.conninfo import conninfo_to_dict, make_conninfo
from sqlalchemy import text

from tenure.embedded import binaries
from tenure.errors import Unavailable
from tenure.kit.db import Database
from tenure.settings import environment_with

_VERSION: Final = re.compile(r"\) (\d+)")


@dataclass(frozen=True, slots=True)
class Programs:
    """One folder's `pg_dump` and `pg_restore`, and their major version."""

    folder: Path
    major: int

    def run(self, name: str, *arguments: str, url: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run to the end. With `url` it connects there; the password goes by the environment alone."""
        changes = {"LC_ALL": "C", "PGAPPNAME": f"tenure-{name}", "PGCONNECT_TIMEOUT": "10"}
        command = [str(self.folder / name), *arguments]
        if url is not None:
            target = conninfo_to_dict(url)
            password = target.pop("password", None)
            command += ["--no-password", f"--dbname={make_conninfo('', **target)}"]
            if password is not None:
                changes["PGPASSWORD"] = str(password)
        return subprocess.run(  # noqa: S603 - a program that was looked up, with arguments of ours
            command,
            env=environment_with(changes),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )


def reason(done: subprocess.CompletedProcess[str]) -> str:
    """The program's own sentence. Further lines are left out: they may show rows."""
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    told = [line for line in lines if "error:" in line] or lines or [f"exit code {done.returncode}"]
    return told[0].strip()


def server_major(db: Database) -> int:
    """The major version of the server."""
    with db.transaction() as session:
        return int(session.execute(text("SHOW server_version_num")).scalar_one()) // 10_000


def fitting(server: int) -> list[Programs]:
    """The programs that can serve this server, the nearest version first. Raises Unavailable without any.

    An older program cannot read a newer server; a much newer one may say what an older server does not know.
    """
    found = [programs for folder in _folders() if (programs := _in(folder)) is not None]
    fit = sorted((p for p in found if p.major >= server), key=lambda p: p.major)
    if fit:
        return fit
    if not found:
        raise Unavailable(f"pg_dump and pg_restore are not installed; version {server} or newer is needed")
    newest = max(p.major for p in found)
    raise Unavailable(
        f"the server is PostgreSQL {server}, but pg_dump and pg_restore here are version {newest}: "
        f"install version {server} or newer"
    )


def _folders() -> list[Path]:
    folders = []
    with contextlib.suppress(Unavailable):  # without the embedded server those on the PATH may do
        folders.append(binaries.postgres_programs(None))
    on_path = shutil.which("pg_dump")
    if on_path is not None:
        folders.append(Path(on_path).parent)
    return folders


def _in(folder: Path) -> Programs | None:
    if not all((folder / name).exists() for name in ("pg_dump", "pg_restore")):
        return None
    told = Programs(folder, 0).run("pg_dump", "--version")
    match = _VERSION.search(told.stdout)
    return Programs(folder, int(match[1])) if told.returncode == 0 and match else None
