"""`tenure backup` and `tenure restore`: all or nothing, and a password that nobody sees."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import text

from tenure.backups import programs
from tenure.errors import Unavailable
from tenure.kit.db import Database
from tests.support import builders, services

Tenure = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def tenure(tmp_path: Path) -> Tenure:
    def run(url: str, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "tenure", *words],
            cwd=services.ROOT,
            env=dict(services.environment(TENURE_DATABASE_URL=url, TENURE_DATA_DIR=str(tmp_path / "data"))),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


@pytest.fixture
def filled(db: Database, database_url: str) -> str:
    """A database with customers, subscriptions, events and money's traces."""
    for status in ("active", "trialing", "canceled"):
        builders.subscription(db, status=status)
    builders.run(db, "expiry")
    return database_url


def contents(url: str, *, besides: Sequence[str] = ()) -> dict[str, tuple[int, str]]:
    """Of every table, how many rows and a digest of them."""
    found = {}
    with psycopg.connect(url) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        for (name,) in tables:
            if name not in besides:
                digest = "md5(coalesce(string_agg(t::text, '|' ORDER BY t::text), ''))"
                query = sql.SQL(f"SELECT count(*), {digest} FROM {{}} t").format(sql.Identifier(name))
                row = connection.execute(query).fetchone()
                assert row is not None
                found[name] = (int(row[0]), str(row[1]))
    return found


def functions(url: str) -> list[str]:
    with psycopg.connect(url) as connection:
        query = "SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace ORDER BY 1"
        return [name for (name,) in connection.execute(query)]


def test_a_restored_database_holds_every_row(
    tenure: Tenure, filled: str, empty_database_url: str, tmp_path: Path
) -> None:
    file = tmp_path / "tenure.dump"
    before = contents(filled)
    done = tenure(filled, "backup", str(file), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"file": str(file), "bytes": file.stat().st_size}
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["tenure.dump"]
    back = tenure(empty_database_url, "restore", str(file), "--json")
    assert back.returncode == 0, back.stderr
    assert json.loads(back.stdout) == {"file": str(file), "tables": len(before)}
    assert before["subscription"][0] == 3
    before.pop("audit")  # the restore is told there
    assert contents(empty_database_url, besides=["audit"]) == before
    assert functions(empty_database_url) == functions(filled)
    with psycopg.connect(empty_database_url) as connection:
        actions = [a for (a,) in connection.execute("SELECT action FROM audit ORDER BY id DESC LIMIT 1")]
        assert actions == ["restore"]
        # It works on: the trigger of events is there, and numbers go on where they were.
        connection.execute("INSERT INTO event (id, type, subject) VALUES ('evt_new', 't', 't:1')")
        row = connection.execute("SELECT n = (SELECT max(n) FROM event) FROM event_pending "
                                 "WHERE event_id = 'evt_new'").fetchone()  # fmt: skip
        assert row == (True,)


def test_a_file_that_exists_is_not_overwritten_without_force(
    tenure: Tenure, filled: str, tmp_path: Path
) -> None:
    file = tmp_path / "tenure.dump"
    file.write_text("precious")
    done = tenure(filled, "backup", str(file))
    assert done.returncode == 4
    assert "exists" in done.stderr
    assert file.read_text() == "precious"
    assert tenure(filled, "backup", str(file), "--force").returncode == 0
    assert file.read_bytes()[:5] == b"PGDMP"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_damaged_file_is_refused_and_nothing_changes(
    tenure: Tenure, filled: str, empty_database_url: str, tmp_path: Path
) -> None:
    whole, damaged = tmp_path / "whole.dump", tmp_path / "damaged.dump"
    assert tenure(filled, "backup", str(whole)).returncode == 0
    data = whole.read_bytes()
    before = contents(filled)
    bad = (b"no backup at all", data[: len(data) // 4], data[: len(data) - 3000])
    for broken, url in zip(bad, (filled, empty_database_url, filled), strict=True):
        damaged.write_bytes(broken)
        done = tenure(url, "restore", str(damaged), "--force")
        assert done.returncode == 1, (len(broken), done.stderr)
        assert "Traceback" not in done.stderr
    assert contents(filled) == before
    assert contents(empty_database_url) == {}


def test_a_database_in_use_or_not_empty_is_refused_without_force(
    tenure: Tenure, filled: str, db: Database, tmp_path: Path
) -> None:
    file = tmp_path / "tenure.dump"
    assert tenure(filled, "backup", str(file)).returncode == 0
    before = contents(filled)
    refused = tenure(filled, "restore", str(file))
    assert (refused.returncode, "not empty" in refused.stderr) == (4, True), refused.stderr
    with db.transaction() as session:
        session.execute(
            text("""
                INSERT INTO node (id, role, name, host, pid, version, lease_until)
                VALUES ('nod_1', 'worker', 'w1@here', 'h', 1, '0', clock_timestamp() + interval '1 hour')
            """)
        )
    busy = tenure(filled, "restore", str(file))
    assert (busy.returncode, "w1@here" in busy.stderr) == (4, True), busy.stderr
    builders.customer(db)
    assert contents(filled)["customer"] != before["customer"]
    forced = tenure(filled, "restore", str(file), "--force")
    assert forced.returncode == 0, forced.stderr
    before.pop("audit")
    assert contents(filled, besides=["audit"]) == before


def test_a_table_that_the_backup_does_not_know_is_never_mixed_in(
    tenure: Tenure, filled: str, tmp_path: Path
) -> None:
    file = tmp_path / "tenure.dump"
    assert tenure(filled, "backup", str(file)).returncode == 0
    with psycopg.connect(filled) as connection:
        connection.execute("CREATE TABLE of_a_later_version (x int)")
    before = contents(filled)
    done = tenure(filled, "restore", str(file), "--force")
    assert (done.returncode, "of_a_later_version" in done.stderr) == (4, True)
    assert contents(filled) == before


def test_a_restore_that_fails_in_the_middle_changes_nothing(
    tenure: Tenure, filled: str, tmp_path: Path
) -> None:
    file = tmp_path / "tenure.dump"
    assert tenure(filled, "backup", str(file)).returncode == 0
    with psycopg.connect(filled) as connection:
        # A function that depends on a table's type keeps that table from being dropped.
        connection.execute("CREATE FUNCTION in_the_way(plan) RETURNS int LANGUAGE sql AS 'SELECT 1'")
    before = contents(filled)
    done = tenure(filled, "restore", str(file), "--force")
    assert (done.returncode, "nothing has changed" in done.stderr) == (3, True), done.stderr
    assert contents(filled) == before


def test_the_password_is_not_among_the_arguments(filled: str, tmp_path: Path) -> None:
    """A program that writes down what it was given stands where pg_dump would."""
    password = urlsplit(filled).password
    assert password
    witness = tmp_path / "pg_dump"
    witness.write_text(
        f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/argv\nprintf %s "$PGPASSWORD" > {tmp_path}/env\n'
    )
    witness.chmod(0o700)
    assert programs.Programs(tmp_path, 1).run("pg_dump", "--version", url=filled).returncode == 0
    assert password not in (tmp_path / "argv").read_text()
    assert (tmp_path / "env").read_text() == password


def test_programs_older_than_the_server_are_refused_in_words() -> None:
    with pytest.raises(Unavailable, match=r"the server is PostgreSQL 99.*install version 99 or newer"):
        programs.fitting(99)


def test_a_server_that_is_away_is_exit_code_3(tenure: Tenure, tmp_path: Path) -> None:
    done = tenure("postgresql://tenure:x@127.0.0.1:1/tenure", "backup", str(tmp_path / "f"))
    assert done.returncode == 3
    assert list(tmp_path.glob("*f*")) == []
