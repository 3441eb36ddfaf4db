"""`tenure user add` and `tenure apikey create`: what programs read, exit codes, and nothing half done."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from tenure.accounts.sign_in import sign_in
from tenure.accounts.tokens import Tokens
from tenure.accounts.users import FIRST_ADMIN, ensure_first_admin
from tenure.kit.db import Database
from tests.support import services


@pytest.fixture
def tenure(database_url: str, tmp_path: Path):
    def run(*words: str, typed: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "tenure", *words],
            cwd=services.ROOT,
            env=dict(services.environment(TENURE_DATABASE_URL=database_url, TENURE_DATA_DIR=str(tmp_path))),
            input=typed,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


def count(database_url: str, table: str) -> int:
    with psycopg.connect(database_url) as connection:
        row = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
        assert row is not None
        return int(row[0])


def test_a_user_is_added_with_a_password_that_works(tenure, database_url: str):
    done = tenure("user", "add", "Ada@example.com", "--role", "operator", "--json")
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout)
    assert made.keys() == {"id", "email", "role", "password"}
    assert made["id"].startswith("usr_")
    db = Database(database_url, pool_size=1, application="test")
    signed_in = sign_in(db, Tokens("k" * 32), email="ada@example.com", password=made["password"])
    db.close()
    assert (signed_in.user_id, signed_in.role) == (made["id"], "operator")


def test_a_password_may_come_from_standard_input_and_is_not_shown(tenure):
    done = tenure("user", "add", "a@example.com", "--role", "viewer", "--password-stdin", "--json",
                  typed="a long password\n")  # fmt: skip
    assert done.returncode == 0
    assert json.loads(done.stdout).keys() == {"id", "email", "role"}
    assert "a long password" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("words", "typed", "code"),
    [
        (("user", "add", "a@example.com", "--role", "king"), "", 2),
        (("user", "add", "a@example.com"), "", 2),
        (("user", "add", "not an address", "--role", "viewer"), "", 2),
        (("user", "add", "a@example.com", "--role", "viewer", "--password-stdin"), "short\n", 2),
        (("user", "add", "a@example.com", "--role", "viewer", "--password-stdin"), "", 2),
    ],
)
def test_a_user_that_cannot_be_is_refused_in_one_line(tenure, database_url: str, words, typed, code):
    done = tenure(*words, typed=typed)
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    assert count(database_url, "app_user") == 0


def test_an_address_is_taken_whatever_its_case(tenure, database_url: str):
    assert tenure("user", "add", "a@example.com", "--role", "viewer").returncode == 0
    assert tenure("user", "add", "A@EXAMPLE.com", "--role", "admin").returncode == 4
    assert count(database_url, "app_user") == 1


def test_a_key_is_shown_once_and_stored_as_a_hash(tenure, database_url: str):
    done = tenure("apikey", "create", "shop", "--role", "admin", "--json")
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout)
    assert made.keys() == {"id", "key", "role"}
    assert made["key"].startswith("tnk_")
    with psycopg.connect(database_url) as connection:
        stored = connection.execute("SELECT api_key::text FROM api_key").fetchone()
        audited = connection.execute("SELECT string_agg(audit::text, '') FROM audit").fetchone()
    assert stored is not None
    assert audited is not None
    assert made["key"] not in stored[0] + audited[0]
    assert "api_key.created" in audited[0]


def test_the_first_admin_is_made_once(database_url: str):
    db = Database(database_url, pool_size=1, application="test")
    try:
        made = ensure_first_admin(db)
        assert made is not None
        assert made[0] == FIRST_ADMIN
        assert ensure_first_admin(db) is None
        assert sign_in(db, Tokens("k" * 32), email=made[0], password=made[1]).role == "admin"
    finally:
        db.close()
    assert count(database_url, "app_user") == 1


def test_without_a_database_the_command_says_so(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-m", "tenure", "apikey", "create", "x", "--role", "viewer"],
        cwd=services.ROOT,
        env=dict(
            services.environment(
                TENURE_DATABASE_URL="postgresql://nobody@127.0.0.1:1/none", TENURE_DATA_DIR=str(tmp_path)
            )
        ),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
