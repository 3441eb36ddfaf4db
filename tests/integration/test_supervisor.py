"""The supervisor: what it starts is kept alive, and nothing is left behind however it ends."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from tenure.embedded import ports, process
from tenure.embedded.folder import StackFolder
from tenure.embedded.logfile import LogFile, _objects
from tenure.embedded.roles import Backoff, Errand, Phase, RoleSpec, RoleState, RoleStatus, StopOrder
from tenure.embedded.supervisor import BootFailed, Interrupted, Supervisor
from tenure.errors import Conflict
from tests.support import services, small_stack
from tests.support.waiting import until


@pytest.fixture
def folder():
    with services.session_folder() as made:
        yield made


class Running:
    """The small stack as a process of its own."""

    def __init__(self, data: Path) -> None:
        self.folder = StackFolder(data)
        self.port = ports.any_free()
        command = [sys.executable, "-m", "tests.support.small_stack", str(data), str(self.port)]
        self.process = subprocess.Popen(command, cwd=services.ROOT, env=dict(services.environment()))

    def until_ready(self) -> Running:
        until(lambda: self._is_ready() or self.process.poll() is not None, 60)
        assert self.process.poll() is None
        return self

    def _is_ready(self) -> bool:
        state = self.folder.read_state()
        return bool(state.get("ready")) and state["supervisor"] == self.process.pid

    def roles(self) -> dict[str, dict[str, Any]]:
        return {role["name"]: role for role in self.folder.read_state()["roles"]}

    def everything(self) -> set[process.Identity]:
        """All processes that descend from it."""
        return {
            identity
            for child in psutil.Process(self.process.pid).children(recursive=True)
            if (identity := process.Identity.of(child.pid))
        }

    def names(self) -> set[str]:
        """The programs that descend from it."""
        found = set()
        for child in psutil.Process(self.process.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                found.add(child.name())
        return found

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(40)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()


@pytest.fixture
def start():
    made: list[Running] = []

    def begin(data: Path) -> Running:
        made.append(Running(data))
        return made[-1]

    yield begin
    for stack in made:
        stack.end()


@pytest.fixture
def supervisor(tmp_path: Path):
    with Supervisor(tmp_path / "logs") as made:
        yield made


def log_events(path: Path) -> list[dict[str, Any]]:
    """The whole lines: the last one may be half written."""
    return [json.loads(line) for line in path.read_text().rpartition("\n")[0].splitlines()]


@pytest.mark.kill
def test_a_killed_role_is_restarted_and_its_family_does_not_outlive_it(folder: Path, start):
    stack = start(folder).until_ready()
    before = stack.roles()["family"]
    grandchild = process.Identity.of(int((folder / "grandchild").read_text()))
    assert grandchild is not None
    os.kill(before["pid"], signal.SIGKILL)
    until(lambda: stack.roles()["family"]["restarts"] == 1 and stack.roles()["family"]["state"] == "ready")
    after = stack.roles()["family"]
    assert after["pid"] != before["pid"]
    until(lambda: not grandchild.alive)
    ended = [event for event in log_events(folder / "logs" / "family.log") if event["event"] == "role.ended"]
    assert [event["signal"] for event in ended] == ["SIGKILL"]  # the fault did happen
    assert all(role["restarts"] == 0 for name, role in stack.roles().items() if name != "family")


@pytest.mark.kill
def test_a_killed_postgres_comes_back_on_the_same_data(folder: Path, start):
    stack = start(folder).until_ready()
    killed = stack.roles()["postgres"]["pid"]
    os.kill(killed, signal.SIGKILL)
    until(
        lambda: stack.roles()["postgres"]["restarts"] >= 1 and stack.roles()["postgres"]["state"] == "ready",
        40,
    )

    def recovered() -> bool:
        messages = [event["event"] for event in log_events(folder / "logs" / "postgres.log")]
        return any("was interrupted" in message for message in messages)

    until(recovered, what="it said that it recovered after a real crash")


@pytest.mark.kill
def test_kill_9_of_the_supervisor_leaves_nothing_behind_and_a_new_one_works(folder: Path, start):
    first = start(folder).until_ready()
    # A shell's child is a shell for a moment, and PostgreSQL's come and go.
    until(lambda: {"postgres", "valkey-server", "sleep"} <= first.names())
    everything = first.everything()
    first.process.kill()
    assert first.process.wait() == -signal.SIGKILL
    until(lambda: not any(identity.alive for identity in everything))
    again = start(folder).until_ready()
    assert {role["state"] for role in again.roles().values()} == {"ready"}
    again.end()
    assert again.process.returncode == 0


def test_a_stop_ends_everything_in_order(folder: Path, start):
    stack = start(folder).until_ready()
    everything = stack.everything()
    stack.end()
    assert stack.process.returncode == 0
    assert not any(identity.alive for identity in everything)
    stopped = {
        name: next(
            e["ts"] for e in log_events(folder / "logs" / f"{name}.log") if e["event"] == "role.stopped"
        )
        for name in ("web", "family", "valkey", "postgres")
    }
    assert sorted(stopped, key=lambda name: stopped[name]) == ["web", "family", "valkey", "postgres"]
    assert not (folder / "postgres" / "postmaster.pid").exists()
    assert not (folder / "stack.json").exists()


def test_two_stacks_run_side_by_side_and_one_folder_takes_only_one(folder: Path, start):
    one = start(folder / "one").until_ready()
    two = start(folder / "two with spaces").until_ready()
    with pytest.raises(Conflict, match="already runs"):
        StackFolder(folder / "one").acquire()
    assert one.folder.is_running()
    two.end()
    assert not two.folder.is_running()
    assert {role["state"] for role in one.roles().values()} == {"ready"}


def test_what_a_killed_stack_left_is_swept_and_a_reused_pid_is_spared(folder: Path):
    left = process.start(["/bin/sleep", "600"], env={}, cwd=folder, output=subprocess.DEVNULL)
    stranger = process.start(["/bin/sleep", "600"], env={}, cwd=folder, output=subprocess.DEVNULL)
    try:
        known = process.Identity.of(left.pid)
        other = process.Identity.of(stranger.pid)
        assert known is not None
        assert other is not None
        roles = [
            {"name": "left", "pid": known.pid, "started": known.started},
            {"name": "older", "pid": other.pid, "started": other.started - 100},
        ]
        (folder / "state.json").write_text(json.dumps({"ready": True, "roles": roles}))
        (folder / "stack.json").write_text(
            json.dumps({"url": "http://stale", "supervisor": {"pid": 1, "started": 1}})
        )
        stack = StackFolder(folder)
        stack.acquire()
        assert not known.alive
        assert stranger.poll() is None
        assert not stack.stack_file.exists()
        stack.release()
    finally:
        process.stop(left)
        process.stop(stranger)


def test_a_truncated_state_file_does_not_stop_a_start(folder: Path):
    (folder / "state.json").write_text('{"ready": true, "roles": [{"na')
    (folder / "stack.json").write_text("")
    stack = StackFolder(folder)
    stack.acquire()
    stack.release()


def test_a_role_that_never_starts_fails_the_boot_with_its_last_words(tmp_path: Path, supervisor: Supervisor):
    spec = RoleSpec(
        name="broken",
        command=[sys.executable, "-c", "raise RuntimeError('the reason')"],
        ready=lambda _pid: False,
        env=small_stack.ENV,
        cwd=tmp_path,
        order=StopOrder.WEB,
    )
    with pytest.raises(BootFailed) as failure:
        supervisor.boot([Phase(roles=[spec])])
    assert failure.value.role == "broken"
    assert any("RuntimeError: the reason" in line for line in failure.value.tail)
    assert all(status.pid is None for status in supervisor.statuses)


def test_a_role_that_runs_but_is_never_ready_is_restarted(tmp_path: Path, supervisor: Supervisor):
    spec = RoleSpec(
        name="mute",
        command=["/bin/sleep", "600"],
        ready=lambda _pid: False,
        env=small_stack.ENV,
        cwd=tmp_path,
        order=StopOrder.WEB,
        ready_within_s=0.2,
    )
    with pytest.raises(BootFailed):
        supervisor.boot([Phase(roles=[spec])])
    events = [event["event"] for event in log_events(tmp_path / "logs" / "mute.log")]
    assert events.count("role.not_ready") == 3


def test_a_full_disk_below_what_is_told_of_the_roles_stops_nobody(tmp_path: Path):
    told = tmp_path / "told"
    told.symlink_to("/dev/full")

    def tell(roles: Sequence[RoleStatus]) -> None:
        told.write_text(" ".join(f"{role.name}:{role.state}" for role in roles))

    sleeper = RoleSpec(
        name="sleeper",
        command=["/bin/sleep", "600"],
        ready=lambda _pid: True,
        env=small_stack.ENV,
        cwd=tmp_path,
        order=StopOrder.WEB,
    )
    with pytest.raises(OSError, match="No space left"):
        told.write_text("anything")
    with Supervisor(tmp_path / "logs", tell) as supervisor:
        supervisor.boot([Phase(roles=[sleeper])])
        watch = threading.Thread(target=supervisor.watch)
        watch.start()
        assert until(lambda: supervisor.statuses[0].state is RoleState.READY)
        said = log_events(tmp_path / "logs" / "supervisor.log")
        assert [(line["event"], line["reason"]) for line in said] == [
            ("state.untold", "No space left on device")
        ]
        told.unlink()
        until(lambda: told.exists() and told.read_text() == "sleeper:ready", what="told after all")
        supervisor.request_stop()
        watch.join(20)


def test_an_errand_that_fails_stops_the_boot(tmp_path: Path, supervisor: Supervisor):
    errand = Errand(
        "migrate", [sys.executable, "-c", "import sys; sys.exit('no way')"], small_stack.ENV, tmp_path
    )
    with pytest.raises(BootFailed) as failure:
        supervisor.boot([Phase(errands=[errand])])
    assert failure.value.role == "migrate"
    assert any("no way" in line for line in failure.value.tail)


def test_a_stop_during_the_boot_ends_it(tmp_path: Path, supervisor: Supervisor):
    supervisor.request_stop()
    with pytest.raises(Interrupted):
        supervisor.boot([Phase(roles=[small_stack.web_role(tmp_path, ports.any_free())])])


def test_a_second_request_stops_at_once(tmp_path: Path):
    spec = RoleSpec(
        name="deaf",
        command=["/bin/sh", "-c", 'trap "" TERM; echo on; while :; do sleep 1; done'],
        ready=lambda _pid: "on" in (tmp_path / "logs" / "deaf.log").read_text(),
        env=small_stack.ENV,
        cwd=tmp_path,
        order=StopOrder.WORKER,
        stop=((signal.SIGTERM, 600.0),),
    )
    with Supervisor(tmp_path / "logs") as supervisor:
        supervisor.boot([Phase(roles=[spec])])
        supervisor.request_stop()
        supervisor.request_stop()
        # Leaving asks once more: the patience of 600 s must not be used up.
        supervisor._stop_requests = 1
        supervisor._report = lambda _: supervisor.request_stop()
    assert supervisor.statuses[0].state is RoleState.STOPPED


def test_every_line_of_a_log_is_one_object_and_a_traceback_is_one_of_them():
    lines = [
        '{"ts": "t", "level": "info", "event": "ours"}',
        "LOG:  database system is ready",
        "FATAL:  no such role",
        "12:M 22 Nov 2026 00:50:23.000 # Warning: no",
        '{"not": "an event"}',
        "Traceback (most recent call last):",
        '  File "x.py", line 1, in <module>',
        "ValueError: bad",
        "plain",
    ]
    found = list(_objects(iter(lines)))
    assert found[0] == lines[0]
    wrapped = [item for item in found if isinstance(item, dict)]
    assert [(item["level"], item["event"]) for item in wrapped] == [
        ("info", "database system is ready"),
        ("critical", "no such role"),
        ("warning", "Warning: no"),
        ("info", '{"not": "an event"}'),
        ("error", "ValueError: bad"),
        ("info", "plain"),
    ]
    assert wrapped[4]["traceback"].count("\n") == 2


def test_a_dump_of_stacks_is_one_object_a_thread():
    dump = [
        "Timeout (0:03:00)!",
        "Thread 0x00007f0e048f5120 (most recent call first):",
        '  File "/x/a.py", line 1 in waits',
        '  File "/x/b.py", line 2 in run',
        "Current thread 0x00007f0e04000000 (most recent call first):",
        '  File "/x/c.py", line 3 in main',
        '{"event": "ours"}',
        "plain",
    ]
    found = list(_objects(iter(dump)))
    assert found[3] == '{"event": "ours"}'
    wrapped = [item for item in found if isinstance(item, dict)]
    assert [item["event"] for item in wrapped] == ["Timeout (0:03:00)!", "stack", "stack", "plain"]
    assert wrapped[0]["level"] == "critical"
    assert wrapped[1]["traceback"].splitlines() == dump[1:4]
    assert wrapped[2]["traceback"].splitlines() == dump[4:6]
    assert list(_objects(iter(dump[1:2]))) == [
        {"level": "error", "event": "stack", "traceback": dump[1]}
    ]  # the last word


def test_what_waits_for_a_service_is_tried_again_soon():
    backoff = Backoff(random=random.Random(1))
    pauses = [backoff.after_run(None, longest_s=5) for _ in range(12)]
    assert max(pauses) <= 5
    assert backoff.after_run(None) > 5


def test_a_log_is_bounded(tmp_path: Path):
    log = LogFile(tmp_path, "chatty", max_bytes=1000)
    for number in range(200):
        log.event("info", f"line {number}")
    log.close()
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["chatty.log", "chatty.log.1", "chatty.log.2"]
    assert all(path.stat().st_size <= 1000 for path in tmp_path.iterdir())
    assert json.loads((tmp_path / "chatty.log").read_text().splitlines()[-1])["event"] == "line 199"


@pytest.mark.parametrize(
    ("ready_s", "ceilings"),
    [
        pytest.param(None, [0.5, 1, 2, 4, 8, 16, *[30] * 6], id="never ready: half a minute"),
        pytest.param(9.0, [0.5, 1, 2, 4, 8, *[10] * 7], id="ready for a moment: ten seconds"),
        pytest.param(10.0, [0.5] * 12, id="ready for ten seconds: as if nothing had been"),
    ],
)
def test_pauses_grow_the_less_of_health_there_was(ready_s: float | None, ceilings: list[float]):
    backoff = Backoff(random=random.Random(1))
    for ceiling in ceilings:
        assert ceiling / 2 <= backoff.after_run(ready_s) <= ceiling


def test_health_forgives_what_was_before():
    backoff = Backoff(random=random.Random(1))
    for _ in range(12):
        backoff.after_run(None)
    assert backoff.after_run(10.0) <= 0.5


def test_a_taken_port_is_left_alone_and_a_neighbor_is_taken():
    wanted = ports.any_free()
    with ports.listen(wanted, "127.0.0.1") as first, ports.listen(wanted, "127.0.0.1") as second:
        assert first.getsockname()[1] == wanted
        assert second.getsockname()[1] > wanted
        assert not ports.is_free(wanted)
