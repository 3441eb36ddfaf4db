"""A small disk of its own, in memory: so that it can be full without anybody else noticing."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tenure.errors import Unavailable

_PATIENCE_S: Final = 30.0


class NotPermitted(Unavailable):
    """This machine does not let us mount."""

    code = "not_permitted"


@contextmanager
def small_disk(place: Path, *, megabytes: int) -> Iterator[None]:
    """A tmpfs of this size at the place, for the block. Raises NotPermitted without the right to mount."""
    _run("mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0711", "tmpfs", str(place))
    try:
        yield
    finally:
        unmount(place)


def unmount(place: Path) -> None:
    """Take away what is mounted there, even while somebody still uses it. Raises NotPermitted."""
    _run("umount", "--lazy", str(place))


def _run(*command: str) -> None:
    try:
        done = subprocess.run(  # noqa: S603 - a fixed command, no shell
            command, capture_output=True, text=True, timeout=_PATIENCE_S, check=False
        )
    except FileNotFoundError:
        raise NotPermitted(f"there is no program {command[0]}") from None
    if done.returncode != 0:
        raise NotPermitted(f"{command[0]}: {done.stderr.strip() or done.returncode}")
