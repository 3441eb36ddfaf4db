"""Where tests find anvil: in the user's cache, or from npm; nowhere means that its tests are skipped."""

from __future__ import annotations

import functools
import shutil
from pathlib import Path

from tenure.standins import anvil

CACHE = Path.home() / ".cache" / "tenure"


def npm() -> list[str] | None:
    """The npm that `dev.py` set up, else the system's."""
    own = Path(__file__).parents[2] / ".venv-node" / "shims" / "npm"
    found = str(own) if own.exists() else shutil.which("npm")
    return [found] if found else None


@functools.cache
def anvil_binary() -> Path | None:
    """The binary, fetched once into the cache."""
    command = npm()
    return anvil.find(CACHE) or (anvil.install(CACHE, npm=command) if command else None)
