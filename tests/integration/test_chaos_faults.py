"""Faults against processes: what they claim to have struck is what they struck."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from tenure.chaos.faults import freeze, kill
from tenure.chaos.field import Field
from tenure.chaos.history import History
from tenure.chaos.outside import outside
from tenure.chaos.plan import Step
from tenure.chaos.throwaway import Recipe, Stack
from tenure.embedded.folder import StackFolder
from tenure.embedded.process import Identity
from tenure.embedded.roles import RoleState, RoleStatus
from tests.support.services import ROOT
from tests.support.waiting import until

COUNT = 3


class Unlucky(random.Random):
    """Dice that fall on processes which end by themselves before anybody can strike them, `left` times."""

    def __init__(self, left: int) -> None:
        super().__init__(7)
        self.left = left
        self.ended: list[int] = []

    def choice(self, seq: Any) -> Any:
        chosen = super().choice(seq)
        if self.left:
            self.left -= 1
            self.ended.append(chosen.pid)
            os.kill(chosen.pid, signal.SIGUSR1)
            until(lambda: not chosen.alive, what="the child's own end")
        return chosen


@dataclass(frozen=True, slots=True)
class Pool:
    """A worker's stand-in with children, in a stack's folder, and how each child ended."""

    field: Field
    dice: Unlucky
    leader: Identity
    ends: Path

    def status(self, pid: int) -> int | None:
        """What the parent was told of the child's end."""
        lines = [line.split() for line in self.ends.read_text().splitlines()]
        return next((int(status) for one, status in lines if int(one) == pid), None)


@contextmanager
def pool(folder: Path, *, way: str, unlucky: int) -> Iterator[Pool]:
    ends, dice = folder / "ends", Unlucky(unlucky)
    ends.touch()
    parent = subprocess.Popen(
        [sys.executable, "-m", "tests.support.pool_of_sleepers", str(COUNT), str(ends), way],
        cwd=ROOT,
        process_group=0,
    )
    try:
        until(lambda: len(psutil.Process(parent.pid).children()) == COUNT, what="the children")
        leader = Identity.of(parent.pid)
        assert leader is not None
        with outside() as world:
            stack = Stack(folder, Recipe(), world)
            home = StackFolder(stack.data_dir)
            home.make()
            status = RoleStatus("worker", leader.pid, leader.started, RoleState.READY, 0)
            others = [
                RoleStatus(name, None, None, RoleState.WAITING, 0) for name in ("worker-payments", "relay")
            ]
            home.write_state([status, *others], ready=True)
            yield Pool(Field(stack, History(), dice, lambda _: None), dice, leader, ends)
    finally:
        os.killpg(parent.pid, signal.SIGKILL)
        parent.wait(10)


@pytest.mark.parametrize("way", ["reap", "leave"])
def test_a_child_that_ended_by_itself_before_the_kill_is_no_kill_and_another_is_struck(
    way: str, tmp_path: Path
):
    with pool(tmp_path, way=way, unlucky=2) as there:
        kill.strike(there.field, Step(0.0, "kill", ("child",), 0.0))
        (strike,) = there.field.strikes
        assert strike.happened, strike
        assert len(there.dice.ended) == 2
        assert strike.proof["pid"] not in there.dice.ended
        if way == "reap":
            # It reaps in the order of birth, not of death: each word may come last.
            dead = [strike.proof["pid"], *there.dice.ended]
            until(lambda: all(there.status(pid) is not None for pid in dead), what="the parent's words")
            assert there.status(strike.proof["pid"]) == -signal.SIGKILL
            assert [there.status(pid) for pid in there.dice.ended] == [0, 0]


def test_a_freeze_of_what_ended_by_itself_is_none_and_another_is_struck(tmp_path: Path):
    with pool(tmp_path, way="reap", unlucky=2) as there:
        freeze.strike(there.field, Step(0.0, "freeze", ("child",), 0.1))
        (strike,) = there.field.strikes
        assert strike.happened, strike
        assert len(there.dice.ended) == 2
        assert list(strike.proof["states"].values()) == ["T"]
        assert not set(strike.proof["states"]) & set(there.dice.ended)
        assert strike.proof["continued"]
