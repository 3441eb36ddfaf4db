"""Nodes that stop, freeze or die: what they had open is ended once, by whoever is left."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psutil
import pytest

from tests.kill.conftest import alive, told
from tests.support.waiting import until
from tests.support.worker import Ledger, Process, worker

pytestmark = pytest.mark.kill


def test_a_node_that_dies_is_found_by_another_nodes_reaper(
    running: Process, ledger: Ledger, env: dict[str, str], tmp_path: Path
) -> None:
    slot = ledger.run("sleep", "ok:100")
    start = ledger.started(slot)
    os.kill(running.pid, signal.SIGKILL)
    running.popen.wait(60)
    until(lambda: not alive(start["pid"]), what="the child died with its parent")
    assert ledger.iterations(slot)[0]["ended_at"] is None
    with worker(env, tmp_path, name="second"):
        end = ledger.ended(slot)
    assert (end["outcome"], end["ended_by"], end["error_type"]) == ("lost", "reaper", "NodeLost")


def test_a_warm_shutdown_lets_the_run_end(running: Process, ledger: Ledger) -> None:
    slot = ledger.run("sleep", "ok:5")
    ledger.started(slot)
    running.stop(within=100)
    assert running.popen.returncode == 0
    assert ledger.ended(slot)["outcome"] == "ok"


def test_a_cold_shutdown_cancels_the_run(running: Process, ledger: Ledger) -> None:
    slot = ledger.run("sleep", "ok:100")
    ledger.started(slot)
    running.popen.send_signal(signal.SIGQUIT)
    running.popen.wait(90)
    end = ledger.ended(slot)
    assert (end["outcome"], end["error_type"]) == ("canceled", "Terminated")


def test_a_frozen_child_that_thaws_after_its_end_writes_nothing(
    running: Process, ledger: Ledger, env: dict[str, str], tmp_path: Path
) -> None:
    slot = ledger.run("sleep", "ok:5")
    start = ledger.started(slot)
    children = running.children()
    for pid in (running.pid, *children):
        os.kill(pid, signal.SIGSTOP)
    until(
        lambda: psutil.Process(start["pid"]).status() == psutil.STATUS_STOPPED,
        what="it is frozen",
    )
    with worker(env, tmp_path, name="second"):
        lost = ledger.ended(slot)
    assert (lost["outcome"], lost["ended_by"]) == ("lost", "reaper")
    for pid in (running.pid, *children):
        os.kill(pid, signal.SIGCONT)
    until(
        lambda: [line for line in running.lines("end.was_there") if line["iteration_id"] == lost["id"]],
        what="the thawed child has ended its body and tried to write",
    )
    assert ledger.iterations(slot) == [lost]
    assert told(ledger, lost["id"]) == ["iteration.started", "iteration.ended"]
