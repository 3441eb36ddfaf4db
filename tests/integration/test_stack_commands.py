"""`status`, `down` and `logs` where no stack runs, or one was killed; and logs that are followed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from tenure.embedded import process, schema
from tenure.embedded.logfile import LogFile
from tests.support.installed import Installed
from tests.support.services import ROOT
from tests.support.waiting import until


@pytest.fixture
def stack(tmp_path: Path) -> Installed:
    return Installed(tmp_path / "data dir")


def test_status_without_a_stack_says_so_and_is_found_wanting(stack: Installed):
    asked = stack.run("status", "--json")
    assert asked.returncode == 1
    assert json.loads(asked.stdout) == {
        "ready": False,
        "url": None,
        "data_dir": str(stack.data_dir),
        "roles": [],
        "urls": {},
    }
    assert "no stack runs" in stack.run("status").stdout


def test_down_without_a_stack_is_done_already(stack: Installed):
    asked = stack.run("down")
    assert asked.returncode == 0
    assert "no stack runs" in asked.stdout


def test_down_ends_what_a_killed_stack_left(stack: Installed):
    stack.data_dir.mkdir()
    left = process.start(["/bin/sleep", "600"], env={}, cwd=stack.data_dir, output=subprocess.DEVNULL)
    try:
        known = process.Identity.of(left.pid)
        assert known is not None
        (stack.data_dir / "supervisor.lock").touch()
        (stack.data_dir / "state.json").write_text(
            json.dumps({"ready": True, "roles": [{"name": "x", "pid": known.pid, "started": known.started}]})
        )
        asked = stack.run("down")
        assert asked.returncode == 0
        assert "ended 1 processes" in asked.stdout
        assert left.wait(30) != 0
    finally:
        process.stop(left)


def test_logs_of_all_roles_come_in_the_order_of_time(stack: Installed):
    one, two = (LogFile(stack.data_dir / "logs", name) for name in ("one", "two"))
    for number in range(3):
        one.event("info", f"one {number}")
        two.event("info", f"two {number}")
    one.close()
    two.close()
    lines = [json.loads(line) for line in stack.run("logs").stdout.splitlines()]
    assert [line["event"] for line in lines] == ["one 0", "two 0", "one 1", "two 1", "one 2", "two 2"]
    last = stack.run("logs", "two", "-n", "1").stdout.splitlines()
    assert [json.loads(line)["event"] for line in last] == ["two 2"]


def test_logs_of_an_unknown_role_name_those_that_there_are(stack: Installed):
    LogFile(stack.data_dir / "logs", "web").close()
    asked = stack.run("logs", "wbe")
    assert asked.returncode == 2
    assert "web" in asked.stderr


def test_followed_logs_go_on_over_a_turn_over(stack: Installed, tmp_path: Path):
    log = LogFile(stack.data_dir / "logs", "web", max_bytes=2000)
    log.event("info", "before")
    output = tmp_path / "output"

    def shows(text: str) -> bool:
        return text in output.read_text()

    command = [sys.executable, "-m", "tenure", "logs", "web", "-f", "--data-dir", str(stack.data_dir)]
    with output.open("wb") as file:
        follower = subprocess.Popen(
            command, cwd=ROOT, env={**stack.env, "PYTHONUNBUFFERED": "1"}, stdout=file
        )
    try:
        until(partial(shows, "before"))
        for number in range(60):
            log.event("info", f"line {number}")
            until(partial(shows, f'"line {number}"'))
        assert log.path.with_suffix(".log.1").exists()  # it was turned over
    finally:
        follower.kill()
        follower.wait()
        log.close()


def test_the_head_is_the_one_that_alembic_names_and_only_it_skips_the_migrations(
    database_url: str, empty_database_url: str, tmp_path: Path
):
    versions = ROOT / "alembic" / "versions"
    config = Config(ROOT / "alembic.ini")
    assert schema.heads(versions) == set(ScriptDirectory.from_config(config).get_heads())
    assert schema.is_at_head(database_url, versions)
    assert not schema.is_at_head(empty_database_url, versions)
    newer = tmp_path / "versions"
    shutil.copytree(versions, newer)
    (head,) = schema.heads(versions)
    (newer / "9999.py").write_text(f'revision = "9999"\ndown_revision = "{head}"\nbranch_labels = None\n')
    assert not schema.is_at_head(database_url, newer)
