"""The development signing key: made once, atomically, readable by its owner only."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path
from typing import Final

from tenure.errors import BadSettings

_KEY_BYTES: Final = 48


def read_or_make_key(path: Path) -> str:
    """The key in this file; made first when there is none.

    Of several processes that start at once exactly one file wins: it is written whole under another name
    and then linked, so nobody ever reads an empty or a half key. Raises BadSettings for a key file that
    others may read.
    """
    if not path.exists():
        _make(path)
    if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise BadSettings(f"{path} can be read by others: chmod 600 it, and consider the key known")
    return path.read_text().strip()


def _make(path: Path) -> None:
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(_KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            return  # another process was first; its key is the key
    finally:
        draft.unlink()
