"""The supervisor over roles that cannot help themselves: stopped, silent, or deaf to requests."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from tenure.embedded import ports, process
from tenure.embedded.roles import Phase, RoleSpec, RoleState, StopOrder
from tenure.embedded.supervisor import Supervisor
from tenure.kit import clock
from tests.support import services, small_stack
from tests.support.lines import whole_lines
from tests.support.waiting import until
from tests.support.worker import Ledger, worker

pytestmark = pytest.mark.kill

# Stops a process as a debugger does (PTRACE_SEIZE, PTRACE_INTERRUPT), until a line comes in.
TRACER = """
import ctypes, os, sys
libc, pid = ctypes.CDLL(None, use_errno=True), int(sys.argv[1])
if libc.ptrace(0x4206, pid, None, None) or libc.ptrace(0x4207, pid, None, None):
    sys.exit(1)
os.waitpid(pid, 0x40000000)
print("traced", flush=True)
sys.stdin.readline()
"""

# Not a shell: dash forgets a signal that comes at its return from a vfork, which is where a stop may hold it.
ORDERLY = """
import signal, sys, time
def end(*_):
    print("orderly")
    sys.exit(0)
signal.signal(signal.SIGQUIT, end)
print("on")
while True:
    time.sleep(60)
"""


class Watched:
    """A supervisor whose ticks the test makes."""

    def __init__(self, supervisor: Supervisor, folder: Path) -> None:
        self.supervisor = supervisor
        self.folder = folder

    def until(self, condition: Callable[[], Any], within_s: float = 60, *, what: str) -> Any:
        def ticked() -> Any:
            self.supervisor._tick(0.02)
            return condition()

        return until(ticked, within_s, what=what)

    def lines(self, role: str, event: str) -> list[dict[str, Any]]:
        lines = whole_lines(self.folder / "logs" / f"{role}.log")
        return [line for line in map(json.loads, lines) if line["event"] == event]

    @property
    def status(self) -> dict[str, Any]:
        return self.supervisor.statuses[0].as_dict()

    def is_back(self) -> bool:
        return bool(self.status["restarts"] == 1 and self.status["state"] == RoleState.READY)


@pytest.fixture
def watched(tmp_path: Path):
    with Supervisor(tmp_path / "logs") as supervisor:
        yield Watched(supervisor, tmp_path)


def _is_gone(pid: int) -> bool:
    return process.Identity.of(pid) is None


def sleeper(folder: Path, **more: Any) -> RoleSpec:
    return RoleSpec(
        name="sleeper",
        command=["/bin/sleep", "600"],
        ready=lambda _pid: True,
        env=small_stack.ENV,
        cwd=folder,
        order=StopOrder.WORKER,
        **more,
    )


def test_a_stopped_role_is_replaced_with_its_reason_in_log_and_status(watched: Watched, tmp_path: Path):
    watched.supervisor.boot([Phase(roles=[sleeper(tmp_path, frozen_s=2.0)])])
    before = watched.status
    os.kill(before["pid"], signal.SIGSTOP)
    until(lambda: psutil.Process(before["pid"]).status() == psutil.STATUS_STOPPED)
    watched.until(watched.is_back, what="it was started again")
    assert watched.status["pid"] != before["pid"]
    assert watched.status["reason"].startswith("frozen: stopped by a signal for")
    (line,) = watched.lines("sleeper", "role.replaced")
    assert line["pid"] == before["pid"]
    assert not psutil.pid_exists(before["pid"])


def test_a_stopped_server_is_thawed_to_end_in_order(watched: Watched, tmp_path: Path):
    """What must not be killed outright (PostgreSQL) hears its hard stop, because it may run again."""
    spec = RoleSpec(
        name="server",
        command=[sys.executable, "-c", ORDERLY],
        ready=lambda _pid: "on" in (tmp_path / "logs" / "server.log").read_text(),
        env=small_stack.ENV,
        cwd=tmp_path,
        order=StopOrder.DATABASE,
        hard_stop=signal.SIGQUIT,
        frozen_s=2.0,
    )
    watched.supervisor.boot([Phase(roles=[spec])])
    os.kill(watched.status["pid"], signal.SIGSTOP)
    watched.until(lambda: watched.lines("server", "orderly"), what="it ended in order")
    watched.until(watched.is_back, what="it was started again")


def test_a_short_stop_and_a_debugger_are_left_alone(watched: Watched, tmp_path: Path):
    watched.supervisor.boot([Phase(roles=[sleeper(tmp_path, frozen_s=3.0)])])
    pid = watched.status["pid"]
    os.kill(pid, signal.SIGSTOP)
    until(lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED)
    os.kill(pid, signal.SIGCONT)
    tracer = subprocess.Popen(
        [sys.executable, "-c", TRACER, str(pid)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert tracer.stdout is not None
        if tracer.stdout.readline() != b"traced\n":
            pytest.skip("this machine does not let a process be traced")
        until(lambda: psutil.Process(pid).status() == psutil.STATUS_TRACING_STOP, what="it is traced")
        seen = process.Identity.of(pid)
        looks, end = itertools.count(), clock.monotonic() + 6
        watched.until(
            lambda: next(looks) > 50 and clock.monotonic() > end, 300, what="six seconds pass, and many looks"
        )
        assert seen is not None
        assert seen.alive
        assert psutil.Process(pid).status() == psutil.STATUS_TRACING_STOP
        assert watched.status["restarts"] == 0
    finally:
        tracer.communicate(b"\n", timeout=60)


def test_a_web_role_that_answers_no_more_is_replaced(watched: Watched, tmp_path: Path):
    """It accepts connections and says nothing: a child of it is stopped, not the process itself."""
    port = ports.any_free()
    script = (
        "import http.server, pathlib, time\n"
        "class Handler(http.server.SimpleHTTPRequestHandler):\n"
        "    def do_GET(self):\n"
        "        if pathlib.Path('mute').exists(): time.sleep(600)\n"
        "        super().do_GET()\n"
        f"http.server.HTTPServer(('127.0.0.1', {port}), Handler).serve_forever()\n"
    )
    from tenure.embedded import probes

    spec = RoleSpec(
        name="web",
        command=[sys.executable, "-c", script],
        ready=lambda pid: not (tmp_path / "mute").exists() and probes.http_answers(port, "/")(pid),
        alive=probes.http_answers(port, "/", patience_s=1.0),
        env=small_stack.ENV,
        cwd=tmp_path,
        order=StopOrder.WEB,
        silent_s=6.0,
    )
    watched.supervisor.boot([Phase(roles=[spec])])
    before = watched.status["pid"]
    (tmp_path / "mute").touch()
    watched.until(lambda: watched.lines("web", "role.replaced"), 120, what="it is replaced")
    (tmp_path / "mute").unlink()
    watched.until(watched.is_back, what="it was started again")
    assert watched.status["pid"] != before
    assert watched.status["reason"].startswith("silent: no answer for")


def test_a_hung_warm_shutdown_is_ended_by_force_and_the_ledger_is_whole_right_after(
    env: dict[str, str], ledger: Ledger, tmp_path: Path
) -> None:
    """The task hears nothing at all: its process is stopped, so neither limit nor SIGTERM reaches it."""
    env = {**env, "TENURE_JOBS": '{"sleep": {"soft_s": 200, "hard_s": 300}}'}
    words = ["celery", "-A", "tasks", "worker", "-Q", "default", "-c", "1", "-n", "hung@%h"]
    spec = RoleSpec(
        name="worker",
        command=[sys.executable, "-m", *words, "--without-gossip", "--without-mingle"],
        ready=lambda _pid: "ready." in (tmp_path / "logs" / "worker.log").read_text(),
        env={**os.environ, **env},
        cwd=services.ROOT,
        order=StopOrder.WORKER,
        stop=((signal.SIGTERM, 4.0),),
    )
    with Supervisor(tmp_path / "logs") as supervisor:
        watched = Watched(supervisor, tmp_path)
        supervisor.boot([Phase(roles=[spec])])
        slot = ledger.run("sleep", "ok:150")
        start = watched.until(lambda: ledger.iterations(slot), what="START")[0]
        os.kill(start["pid"], signal.SIGSTOP)
        until(lambda: psutil.Process(start["pid"]).status() == psutil.STATUS_STOPPED)
        parent = supervisor.statuses[0].pid
        supervisor.stop()
        assert [line["reason"] for line in watched.lines("worker", "role.killed")] == [
            "it did not stop in time"
        ]
        assert parent is not None
        for pid in (start["pid"], parent):
            until(partial(_is_gone, pid), what="it is gone")
    # Right after: one START, no END, and nobody said anything else meanwhile.
    assert [one["outcome"] for one in ledger.iterations(slot)] == [None]
    with worker(env, tmp_path, name="second"):
        end = ledger.ended(slot)
        assert (end["outcome"], end["ended_by"], end["error_type"]) == ("lost", "reaper", "NodeLost")
        assert ledger.ended(ledger.run("sleep", "ok:0"))["outcome"] == "ok"
