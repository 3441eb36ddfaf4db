"""`tenure migrate`: bring the schema to its newest form."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click

import tenure
from tenure.cli.options import data_dir_option, load_settings
from tenure.errors import Unavailable
from tenure.kit.db import check_reachable

# alembic.ini lies beside `platform/`.
PROJECT_ROOT = Path(tenure.__file__).resolve().parents[2]


def run_migrations(database_url: str, revision: str = "head") -> None:
    """Bring the schema to the revision. Raises Unavailable when Alembic fails; its output says why."""
    from tenure.settings import environment_with

    done = subprocess.run(  # noqa: S603 - our own interpreter, no input
        [sys.executable, "-m", "alembic", "upgrade", revision],
        cwd=PROJECT_ROOT,
        env=environment_with({"TENURE_DATABASE_URL": database_url}),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise Unavailable(f"the migration failed: {_cause(done.stderr)}")


def _cause(stderr: str) -> str:
    """The driver's own sentence out of a traceback, else the last line."""
    lines = [line.strip() for line in stderr.strip().splitlines() if line.strip()] or ["no output"]
    return next((line for line in lines if line.startswith("psycopg.errors.")), lines[-1])


@click.command()
@data_dir_option
def migrate(data_dir: Path | None) -> None:
    """Bring the database's schema to head; doing it again changes nothing."""
    settings = load_settings(data_dir)
    check_reachable(settings.require_database_url())
    run_migrations(settings.require_database_url())
    click.echo("the schema is at head")
