"""The commands of the chaos page, as written there: faults on whole stacks, and nothing is found wanting."""

from __future__ import annotations

import json
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from tenure.chaos.storms import STORMS
from tenure.cli.chaos import chaos
from tests.support.services import ROOT, environment
from tests.support.waiting import until

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(1200)]

PAGE = (ROOT / "docs" / "howto" / "chaos.md").read_text()
# A loaded machine heals later; how late is in the evidence, and the long forms are strict.
PATIENCE = ["--heal-within", "600"]


def commands(kind: str) -> list[list[str]]:
    """The words after `tenure chaos` of every command in the page's blocks of this kind."""
    blocks = re.findall(rf"```sh {kind}\n(.*?)```", PAGE, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    assert all(line.startswith("tenure chaos ") for line in lines)
    return [shlex.split(line)[2:] for line in lines]


def run(*words: str) -> tuple[int, dict[str, Any], str]:
    done = subprocess.run(
        [sys.executable, "-m", "tenure", "chaos", *words, "--json"],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=1100,
        check=False,
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout), done.stderr


@pytest.mark.parametrize("words", commands("short"), ids=lambda words: words[0])
def test_what_the_page_shows_holds(words: list[str], tmp_path: Path):
    code, evidence, said = run(*words, *PATIENCE, "--evidence", str(tmp_path))
    assert evidence["findings"] == [], f"{said}\n{json.dumps(evidence['findings'], indent=1)}"
    assert code == 0, said
    assert evidence["ok"]
    times = int(words[words.index("--kills" if "--kills" in words else "--times") + 1])
    assert len(evidence["faults"]) == times
    assert all(fault["happened"] and fault["proof"] for fault in evidence["faults"])
    # Work went on all the while, and much of it was done.
    assert all(evidence["operations"][f]["ok"] > 0 for f in ("customer", "subscription", "settle", "webhook"))
    assert all(invariant["violated"] == 0 for invariant in evidence["invariants"])
    history = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    assert {"process", "f", "type", "key", "value", "t"} == set(history[0])


@pytest.mark.parametrize("name", ["crash-points", "zombies"])
def test_one_strike_of_a_run_that_is_long_holds(name: str):
    code, evidence, said = run(name, "--seed", "7", "--times", "1", *PATIENCE)
    assert evidence["findings"] == [], f"{said}\n{json.dumps(evidence['findings'], indent=1)}"
    assert code == 0, said
    assert evidence["faults"]
    assert all(fault["happened"] and fault["proof"] for fault in evidence["faults"])


@pytest.mark.parametrize("words", commands("long"), ids=" ".join)
def test_a_long_form_is_a_command_that_there_is(words: list[str]):
    context = chaos.make_context("chaos", list(words))
    assert context.params["name"] in {*STORMS, "all"}


@contextmanager
def begun(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A run that has begun to start its stack, in a place of its own."""
    tmp_path.chmod(0o711)
    with (tmp_path / "said").open("ab") as output:
        started = subprocess.Popen(
            [sys.executable, "-m", "tenure", "chaos", "kills", "--seed", "1", "--times", "1"],
            cwd=ROOT,
            env=environment(TMPDIR=str(tmp_path)),
            stdout=output,
            stderr=output,
        )
    try:
        yield started
    finally:
        started.terminate()
        try:
            started.wait(200)
        finally:
            started.kill()


def family_of(run: subprocess.Popen[bytes], tmp_path: Path) -> list[int]:
    """The processes of the run's stack, once several roles are there."""
    stack = until(lambda: list(tmp_path.glob(f"tenure-chaos-{run.pid}-*/data/stack.json")), 300)[0]
    supervisor: int = json.loads(stack.read_text())["supervisor"]["pid"]
    until(lambda: len(psutil.Process(supervisor).children(recursive=True)) > 3, 300)
    return [supervisor, *(one.pid for one in psutil.Process(supervisor).children(recursive=True))]


def said(tmp_path: Path) -> str:
    return (tmp_path / "said").read_text()


def test_nothing_is_left_of_a_run_however_often_it_is_told_to_end(tmp_path: Path):
    with begun(tmp_path) as run:
        family = family_of(run, tmp_path)
        run.terminate()
        until(lambda: "stopping the stack" in said(tmp_path), 60)
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            run.send_signal(signum)
        assert run.wait(200) == 130
    until(lambda: not any(psutil.pid_exists(pid) for pid in family), 60)
    assert list(tmp_path.glob("tenure-chaos-*")) == []


def test_what_a_killed_run_left_is_removed_by_the_next_one(tmp_path: Path):
    with begun(tmp_path) as run:
        family = family_of(run, tmp_path)
        run.kill()
        run.wait(10)
        until(lambda: not any(psutil.pid_exists(pid) for pid in family), 120)
    (left,) = tmp_path.glob("tenure-chaos-*")
    with begun(tmp_path) as run:
        until(lambda: f"removed what a killed run left: {left}" in said(tmp_path).replace("\n", ""), 120)
        assert not left.exists()
    assert list(tmp_path.glob("tenure-chaos-*")) == []


def test_production_refuses_it():
    done = subprocess.run(
        [sys.executable, "-m", "tenure", "chaos", "--list"],
        cwd=ROOT,
        env=environment(TENURE_ENV="production", TENURE_SECRET_KEY="x" * 40),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "refused in production" in done.stderr


def test_an_unknown_run_is_answered_with_those_there_are():
    done = subprocess.run(
        [sys.executable, "-m", "tenure", "chaos", "weather", "--seed", "1"],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    assert "crash-points" in done.stderr
