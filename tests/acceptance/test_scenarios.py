"""The stories that `tenure scenario` tells hold on this build, and a broken build is told apart by them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from tenure.chaos.outside import outside
from tenure.chaos.scenarios import play as playing
from tenure.chaos.scenarios.catalog import SCENARIOS
from tenure.chaos.scenarios.story import Story
from tenure.chaos.scenarios.told import Scenario, Told
from tenure.chaos.throwaway import Recipe, Stack
from tenure.cli.main import cli
from tenure.errors import Unavailable
from tests.mutants.builds import Build, build
from tests.mutants.catalog import DEDUPE_OFF
from tests.support import services

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(900)]


def scenario(*words: str, made: Build | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tenure", "scenario", *words],
        cwd=made.root if made else services.ROOT,
        env={**services.environment(), **(made.env if made else {})},
        capture_output=True,
        text=True,
        timeout=800,
        check=False,
    )


def test_every_scenario_holds() -> None:
    done = scenario("--all", "--json")
    document = json.loads(done.stdout)
    failed = [(one["name"], step) for one in document["scenarios"] for step in one["steps"] if not step["ok"]]
    assert failed == []
    assert (done.returncode, document["ok"]) == (0, True)
    assert [one["name"] for one in document["scenarios"]] == list(SCENARIOS)
    assert all(set(step) == {"step", "ok", "expected", "seen", "took_ms"}
               for one in document["scenarios"] for step in one["steps"])  # fmt: skip


@pytest.fixture
def folder() -> Iterator[Path]:
    with services.session_folder() as path:
        yield path


def test_a_build_that_counts_payments_twice_fails_its_scenario(folder: Path) -> None:
    done = scenario("provider-webhook-twice", "--json", made=build(folder, DEDUPE_OFF))
    document = json.loads(done.stdout)
    assert (done.returncode, document["ok"]) == (1, False)
    last = document["steps"][-1]
    assert (last["ok"], last["seen"]) == (False, {"stored": 20, "duplicates": 0})


def test_without_a_name_the_scenarios_are_listed() -> None:
    listed = json.loads(scenario("--json").stdout)["items"]
    assert [one["name"] for one in listed] == list(SCENARIOS)
    assert all(one["title"] for one in listed)
    table = scenario().stdout
    assert all(one["name"] in table for one in listed)


@pytest.mark.parametrize(
    ("words", "said"), [(("nobody",), "trial-to-paid"), (("reorg", "--all"), "not both")]
)
def test_a_scenario_that_does_not_exist_is_a_usage_error(words: tuple[str, ...], said: str) -> None:
    done = scenario(*words)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


GUIDE = (services.ROOT / "docs/howto/rehearse.md").read_text()


def test_the_guide_names_every_scenario() -> None:
    assert [name for name in SCENARIOS if f"`{name}`" not in GUIDE] == []


@pytest.mark.parametrize("line", re.findall(r"^tenure (.+)$", GUIDE, re.MULTILINE))
def test_the_commands_of_the_guide_are_understood(line: str) -> None:
    """Not run here: the tests around run them, or take as long as they do."""
    name, *words = line.split()
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    given = command.make_context(name, words).params
    assert given.get("name") in {None, *SCENARIOS}


@pytest.fixture
def idle(tmp_path: Path) -> Iterator[Stack]:
    """A stack that was never started, with its outside."""
    with outside() as world:
        yield Stack(tmp_path, Recipe(), world)


def told(**expected: Any) -> Any:
    def step(_: Story) -> Told:
        """A step."""
        return Told(expected, {"seen": 1})

    return step


def test_the_first_step_that_does_not_hold_is_the_last_one(idle: Stack) -> None:
    evidence = playing.play(idle, Scenario("s", "t", (told(seen=1), told(seen=2), told(seen=1))))
    assert [step.ok for step in evidence.steps] == [True, False]
    assert not evidence.ok
    assert evidence.as_dict()["steps"][1] | {"took_ms": 0} == {
        "step": "A step",
        "ok": False,
        "expected": {"seen": 2},
        "seen": {"seen": 1},
        "took_ms": 0,
    }


def test_what_a_step_meets_is_what_was_seen(idle: Stack) -> None:
    def raises(_: Story) -> Told:
        """It raises."""
        raise Unavailable("nobody there")

    (step,) = playing.play(idle, Scenario("s", "t", (raises,))).steps
    assert (step.ok, step.seen) == (False, {"error": "Unavailable: nobody there"})
