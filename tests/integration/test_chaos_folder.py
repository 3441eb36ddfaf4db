"""Folders of throw-away stacks: which of them are left by a run that is gone."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tenure.chaos import folder
from tenure.embedded.folder import StackFolder
from tests.support.services import ROOT

MAKE = """
from tenure.chaos.folder import own_folder
import os

block = own_folder()
print(block.__enter__(), flush=True)
os._exit(0)
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def left_by_a_dead_run(place: Path) -> Path:
    """A folder whose owner ended without a chance to remove it."""
    done = subprocess.run(
        [sys.executable, "-c", MAKE],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(place)},
        capture_output=True,
        text=True,
        check=True,
    )
    made = Path(done.stdout.strip())
    (made / "data").mkdir()
    (made / "data" / "something").write_text("left")
    return made


def test_the_folder_of_a_dead_run_is_removed_and_ours_stays(place: Path):
    left = left_by_a_dead_run(place)
    assert left.exists()
    with folder.own_folder() as ours:
        assert folder.sweep() == [left]
        assert ours.exists()
    assert list(place.iterdir()) == []


def test_a_stack_that_still_ends_keeps_its_folder(place: Path):
    left = left_by_a_dead_run(place)
    stack = StackFolder(left / "data")
    stack.acquire()
    assert folder.sweep() == []
    stack.release()
    assert folder.sweep() == [left]


def test_what_only_looks_like_one_is_left_alone(place: Path):
    elsewhere = place / "elsewhere"
    elsewhere.mkdir()
    (place / "tenure-chaos-1-1-abc").symlink_to(elsewhere)
    (place / "tenure-chaos-notes").mkdir()
    before = sorted(place.iterdir())
    assert folder.sweep() == []
    assert sorted(place.iterdir()) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_another_users_folder_is_left_alone(place: Path):
    left = left_by_a_dead_run(place)
    os.chown(left, 65534, 65534)
    assert folder.sweep() == []
    assert left.exists()
