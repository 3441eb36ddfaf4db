"""Real servers for a test session, and databases that are cheap to have one of per test."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

import psycopg
from psycopg import sql

from tenure.embedded.postgres import Postgres
from tenure.embedded.process import service_account
from tests.support.waiting import until

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = "tenure_template"


@contextlib.contextmanager
def session_folder() -> Iterator[Path]:
    """A folder that the servers' user can enter (pytest's own are closed to it)."""
    folder = Path(tempfile.mkdtemp(prefix="tenure-test-"))
    if service_account():
        folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def environment(**overlay: str) -> Mapping[str, str]:
    """This process's environment without its TENURE_* settings, then the overlay."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("TENURE_")}
    return {**inherited, **overlay}


def migrate(database_url: str, revision: str = "head", *, direction: str = "upgrade") -> None:
    """Run Alembic as an operator would, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "alembic", direction, revision],
        cwd=ROOT,
        env=environment(TENURE_DATABASE_URL=database_url, TENURE_ENV="development"),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if done.returncode != 0:
        raise AssertionError(f"alembic {direction} {revision} failed:\n{done.stdout}\n{done.stderr}")


def create_database(server: Postgres, name: str, *, template: str = "template0") -> None:
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
        )


def drop_database(server: Postgres, name: str) -> None:
    """Drop it with whoever is connected; an autovacuum, which only a superuser may end, is waited for."""
    drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))

    def dropped() -> bool:
        try:
            connection.execute(drop)
        except psycopg.errors.InsufficientPrivilege:
            return False
        return True

    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        until(dropped, 30, what=f"{name} can be dropped")


@contextlib.contextmanager
def fresh_database(server: Postgres, *, template: str = "template0") -> Iterator[str]:
    """The URL of a new database, dropped afterwards with whoever is still connected."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    create_database(server, name, template=template)
    try:
        yield server.url(name)
    finally:
        drop_database(server, name)
