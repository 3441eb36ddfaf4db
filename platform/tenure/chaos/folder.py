"""Folders of throw-away stacks and servers: named after their owner's process, removed by it or a later run.

A run that is ended by a signal removes its folder itself. One that was killed cannot: its stack then ends by
itself (the kernel tells the supervisor), and the folder's name says that nobody is left.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from tenure.chaos.mount import NotPermitted, unmount
from tenure.embedded.folder import StackFolder
from tenure.embedded.process import Identity

_NAME: Final = re.compile(r"tenure-chaos-(?P<pid>\d+)-(?P<started>\d+)-\w+")
_TICKS: Final = 100  # in a second: what a process's start is known to


@contextmanager
def own_folder() -> Iterator[Path]:
    """A folder of this process in the system's place for such, gone after the block."""
    me = Identity.of(os.getpid())
    assert me is not None  # noqa: S101 - we are alive
    made = Path(tempfile.mkdtemp(prefix=f"tenure-chaos-{me.pid}-{round(me.started * _TICKS)}-"))
    try:
        made.chmod(0o711)  # PostgreSQL of root runs as `nobody`, who must be able to enter
        yield made
    finally:
        remove(made)


def data_of(folder: Path) -> Path:
    """The data directory of the folder's stack."""
    return folder / "data"


def remove(folder: Path) -> None:
    """Nothing of the folder is left on the disk, nor of a cluster that had to lie elsewhere."""
    data = data_of(folder)
    cluster = StackFolder(data).postgres_data() if data.exists() else None
    if cluster is not None and folder not in cluster.parents:
        shutil.rmtree(cluster.parent, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)


def sweep() -> list[Path]:
    """Remove what killed runs of this user left; the folders that were.

    A folder whose owner lives, or whose stack still ends, is left alone.
    """
    place = Path(tempfile.gettempdir())
    left = [folder for folder in sorted(place.glob("tenure-chaos-*")) if _is_left(folder)]
    for folder in left:
        StackFolder(data_of(folder)).sweep()
        remove(folder)
        if folder.is_mount():
            with suppress(NotPermitted):  # then it stays, empty
                unmount(folder)
                folder.rmdir()
    return left


def _is_left(folder: Path) -> bool:
    named = _NAME.fullmatch(folder.name)
    try:
        ours = folder.lstat().st_uid == os.geteuid() and not folder.is_symlink()
    except FileNotFoundError:  # its owner was quicker
        return False
    if named is None or not ours:
        return False
    owner = Identity(int(named["pid"]), int(named["started"]) / _TICKS)
    return not owner.alive and not StackFolder(data_of(folder)).is_running()
