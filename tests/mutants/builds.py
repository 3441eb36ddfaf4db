"""Builds that are broken on purpose: a copy of the sources with a few lines changed, run as any install is.

A change names the text that it replaces, and fails loudly when that text is not there exactly once: a mutant
that no longer breaks anything would prove nothing. The changed lines say in the log that they ran.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tenure.embedded.postgres import Postgres
from tests.support import services

SOURCES = ("platform", "tasks", "web", "alembic", "alembic.ini", "celeryconfig.py", "flowerconfig.py")
LEFT_OUT = shutil.ignore_patterns("console", "static", "*.egg-info")


@dataclass(frozen=True, slots=True)
class Change:
    """One replacement in one file."""

    file: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Mutant:
    """A way of building it wrong, and the invariants of which at least one must notice."""

    name: str
    caught_by: frozenset[str]
    changes: tuple[Change, ...]

    @property
    def marker(self) -> str:
        """What its changed lines write into the log when they run."""
        return marker(self.name)

    @property
    def changes_the_schema(self) -> bool:
        return any(change.file.startswith("alembic/") for change in self.changes)


def marker(name: str) -> str:
    return f"MUTANT {name}"


def says(name: str) -> str:
    """A statement for a changed place: one line of the log."""
    return f"__import__('sys').stderr.write('{{\"event\": \"{marker(name)}\"}}\\n')"


@dataclass(frozen=True, slots=True)
class Build:
    """A tree of sources that can be run, sound or broken."""

    root: Path
    mutant: Mutant | None = field(default=None)

    @property
    def env(self) -> dict[str, str]:
        """What makes a process run this tree: it comes before the installed one."""
        return {"PYTHONPATH": f"{self.root / 'platform'}:{self.root}"}

    def origin_of(self, module: str) -> Path:
        """The file that a process of this build imports as `module`."""
        done = subprocess.run(
            [sys.executable, "-c", f"import importlib.util as u; print(u.find_spec({module!r}).origin)"],
            cwd=self.root,
            env={**services.environment(), **self.env},
            capture_output=True,
            text=True,
            check=True,
        )
        return Path(done.stdout.strip())


def build(folder: Path, mutant: Mutant | None) -> Build:
    """A copy of the sources in the folder, with the mutant's changes; None is the sound build."""
    root = folder / "build"
    root.mkdir()
    for name in SOURCES:
        source = services.ROOT / name
        if source.is_dir():
            # With the compiled files and times, so that only what is changed is compiled again.
            shutil.copytree(source, root / name, ignore=LEFT_OUT)
        else:
            shutil.copy2(source, root / name)
    for change in mutant.changes if mutant else ():
        _apply(root, change)
    return Build(root, mutant)


def _apply(root: Path, change: Change) -> None:
    file = root / change.file
    before = file.read_text()
    found = before.count(change.old)
    assert found == 1, f"{change.file}: the text to replace is there {found} times:\n{change.old}"
    file.write_text(before.replace(change.old, change.new))


@contextlib.contextmanager
def database(server: Postgres, template: str, made: Build) -> Iterator[str]:
    """A database with this build's schema."""
    if made.mutant is None or not made.mutant.changes_the_schema:
        with services.fresh_database(server, template=template) as url:
            yield url
        return
    with services.fresh_database(server) as url:
        done = subprocess.run(
            [sys.executable, "-m", "alembic", "upgrade", "head"],
            cwd=made.root,
            env={**services.environment(TENURE_DATABASE_URL=url, TENURE_ENV="development"), **made.env},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        yield url
