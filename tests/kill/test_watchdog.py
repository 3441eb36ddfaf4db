"""The watchdog: what hangs ends itself with all stacks; outages, quiet and stops are no hangs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from tenure.embedded import postgres as embedded_postgres
from tenure.embedded.roles import Phase, RoleSpec, RoleState, StopOrder
from tenure.embedded.supervisor import Supervisor
from tenure.kit import watchdog
from tests.support import services
from tests.support import web as web_support
from tests.support.lines import whole_lines
from tests.support.waiting import until
from tests.support.worker import Ledger, Process, beat, environment, process, worker

pytestmark = pytest.mark.kill

LIMIT_S = 6
SMALL = {"TENURE_WATCHDOG_S": str(LIMIT_S), "TENURE_WATCHDOG_GRACE_S": "1"}
ROOT = services.ROOT


@pytest.fixture
def env(database_url: str, broker_url: str, tmp_path: Path) -> dict[str, str]:
    return environment(database_url, broker_url, tmp_path, **SMALL)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Any]:
    """Start the small process: how it will hang, and its limits."""
    with ExitStack() as stack:

        def start(how: str, *, limit_s: float = 3, grace_s: float = 0.5) -> Process:
            output = stack.enter_context((tmp_path / "small.log").open("wb"))
            popen = subprocess.Popen(
                [sys.executable, "-m", "tests.support.hung_process", how, str(limit_s), str(grace_s)],
                cwd=tmp_path,
                env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'platform'}"},
                stdout=output,
                stderr=output,
            )
            stack.callback(popen.wait)
            stack.callback(popen.kill)
            running = Process(popen, tmp_path / "small.log")
            until(lambda: running.lines("WATCHDOG_GRACE_END"), 120, what="the grace ends")
            return running

        yield start


def ended(running: Process, within: float = 60) -> int:
    until(lambda: running.popen.poll() is not None, within, what="it ended itself")
    code: int = running.popen.returncode
    return code


def failed_after(running: Process) -> dict[str, Any]:
    until(lambda: running.lines("LIVENESS_CHECK_FAILED"), 60, what="it ended itself")
    return failed(running)


def failed(running: Process) -> dict[str, Any]:
    (line,) = running.lines("LIVENESS_CHECK_FAILED")
    return line


# -- the watchdog alone ---------------------------------------------------------------------------------


def test_a_process_that_makes_no_progress_ends_with_70_and_all_its_stacks(small: Any, tmp_path: Path) -> None:
    running = small("python")
    (tmp_path / "hang").touch()
    assert ended(running) == watchdog.EXIT_CODE == 70
    assert (tmp_path / "hangs").exists()
    line = failed(running)
    assert (line["sign"], line["limit_s"]) == ("turn", 3)
    assert line["silent_s"] >= 3
    text = running.log.read_text()
    assert "in wait_forever" in text  # where it hung
    assert "in _end" in text  # and the other threads


def test_a_process_whose_interpreter_is_held_by_c_code_is_ended_all_the_same(
    small: Any, tmp_path: Path
) -> None:
    running = small("c")
    (tmp_path / "hang").touch()
    assert ended(running) not in {0, 70}
    assert "in hold_the_interpreter" in running.log.read_text()


def test_the_grace_ends_with_the_counters_seen_so_far(small: Any) -> None:
    running = small("python", grace_s=1)
    (line,) = running.lines("WATCHDOG_GRACE_END")
    assert line["counters"]["turn"] > 0
    assert line["role"] == "test"


def test_silence_while_a_service_is_away_is_an_outage_and_told_once(small: Any, tmp_path: Path) -> None:
    running = small("python", limit_s=2)
    (tmp_path / "away").touch()
    (tmp_path / "hang").touch()
    (line,) = until(lambda: running.lines("watchdog.excused"), what="it is excused")
    assert line["without"] == "service"
    with pytest.raises(psutil.TimeoutExpired):
        psutil.Process(running.pid).wait(8)  # four times the limit
    assert len(running.lines("watchdog.excused")) == 1
    (tmp_path / "away").unlink()
    assert ended(running) == 70  # the service is back, and still nothing moves


def test_a_child_that_was_forked_may_use_the_interpreters_timer(small: Any, tmp_path: Path) -> None:
    running = small("python")
    (tmp_path / "fork").touch()
    forked = tmp_path / "forked"
    # A file is there before what is written into it.
    until(lambda: forked.exists() and forked.read_text(), what="the child came through")
    assert forked.read_text() == "0"
    (tmp_path / "hang").touch()
    assert ended(running) == 70  # and the parent is still watched


def test_a_process_that_was_stopped_for_a_while_is_not_to_blame(small: Any) -> None:
    running = small("python", limit_s=20)
    os.kill(running.pid, signal.SIGSTOP)
    until(lambda: psutil.Process(running.pid).status() == psutil.STATUS_STOPPED)
    with pytest.raises(psutil.TimeoutExpired):
        psutil.Process(running.pid).wait(7)
    os.kill(running.pid, signal.SIGCONT)
    until(lambda: running.lines("watchdog.stood_still"), what="it notices")
    assert running.popen.poll() is None


# -- the roles ------------------------------------------------------------------------------------------


def role(name: str, command: list[str], env: dict[str, str], order: StopOrder, folder: Path) -> RoleSpec:
    return RoleSpec(
        name=name,
        command=[sys.executable, "-m", *command],
        ready=lambda _pid: True,
        env={**os.environ, **env},
        cwd=ROOT,
        order=order,
        stop=((signal.SIGTERM, 5.0), (signal.SIGQUIT, 5.0)),
    )


def role_lines(folder: Path, name: str, event: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in whole_lines(folder / "logs" / f"{name}.log")]
    return [line for line in lines if line["event"] == event]


def test_a_beat_whose_tick_hangs_on_a_lock_is_restarted_by_the_supervisor(
    env: dict[str, str], database_url: str, tmp_path: Path
) -> None:
    spec = role("beat", ["tests.support.slow_beat"], env, StopOrder.BEAT, tmp_path)
    with Supervisor(tmp_path / "logs") as supervisor:
        supervisor.boot([Phase(roles=[spec])])

        def ticking(event: str, name: str = "beat") -> list[dict[str, Any]]:
            supervisor._tick(0.02)
            return role_lines(tmp_path, name, event)

        (grace,) = until(lambda: ticking("WATCHDOG_GRACE_END"), 60, what="beat is watched")
        assert set(grace["counters"]) == {"lease", "tick"}
        until(lambda: supervisor.statuses[0].state is RoleState.READY)
        with psycopg.connect(database_url, autocommit=True) as connection:
            until(  # its start waits for the same table
                lambda: (
                    ticking("role.started") and connection.execute("SELECT 1 FROM slot LIMIT 1").fetchone()
                ),
                what="beat has claimed what was due",
            )
        with psycopg.connect(database_url) as blocker:
            blocker.execute("LOCK TABLE schedule IN ACCESS EXCLUSIVE MODE")
            (line,) = until(lambda: ticking("LIVENESS_CHECK_FAILED"), 60, what="beat ended itself")
            assert line["sign"] == "tick"
            (end,) = until(lambda: ticking("role.ended"))
            assert end["code"] == 70
            # The stack of the thread that hung, as one object; who copies the output may be behind.
            until(
                lambda: any(
                    step in one["traceback"]
                    for one in role_lines(tmp_path, "beat", "stack")
                    for step in ("claim_due", "seconds_to_next")  # both read the table in each tick
                ),
                what="the stack is in the log",
            )
        until(
            lambda: len(ticking("role.started")) == 2 and supervisor.statuses[0].state is RoleState.READY,
            60,
            what="it was started again",
        )
        assert supervisor.statuses[0].restarts == 1
        assert supervisor.statuses[0].reason == "ended with code 70"


def test_a_worker_whose_event_loop_is_blocked_ends_with_70(env: dict[str, str], tmp_path: Path) -> None:
    with process(["tests.support.blocked_worker"], log=tmp_path / "worker.log", env=env) as running:
        until(lambda: any("ready." in line["event"] for line in running.lines()), 60, what="it works")
        (grace,) = until(lambda: running.lines("WATCHDOG_GRACE_END"), 60, what="it is watched")
        assert set(grace["counters"]) >= {"lease", "loop", "broker"}
        (tmp_path / "block").touch()
        assert ended(running) == 70
        assert failed(running)["sign"] in {"loop", "broker"}
        assert "in block_the_loop" in running.log.read_text()


@pytest.mark.parametrize(
    ("limit_s", "gunicorns_s"),
    [(LIMIT_S, 60), (600, LIMIT_S + 10)],
    ids=["by the setting", "before gunicorn would"],
)
def test_a_web_process_whose_loop_is_blocked_is_replaced(
    limit_s: int, gunicorns_s: int, env: dict[str, str], tmp_path: Path
) -> None:
    port = web_support.free_port()
    gunicorn = ["gunicorn", "-c", "web/gunicorn.conf.py", "--bind", f"127.0.0.1:{port}"]
    blocked = [*gunicorn, "--timeout", str(gunicorns_s), "tests.support.blocked_web:create_app()"]
    env = {**env, "TENURE_WATCHDOG_S": str(limit_s)}

    def answers(path: str, timeout: float = 10) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=timeout) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    with process(blocked, log=tmp_path / "web.log", env=env) as running:
        until(lambda: answers("/livez"), 60, what="web answers")
        (grace,) = until(lambda: running.lines("WATCHDOG_GRACE_END"), 60, what="it is watched")
        assert not answers("/livez/block", timeout=1)
        line = failed_after(running)
        assert (line["sign"], line["pid"]) == ("loop", grace["pid"])
        assert "in block_the_loop" in running.log.read_text()
        until(lambda: answers("/livez"), 60, what="another process serves")
        until(lambda: len(running.lines("WATCHDOG_GRACE_END")) == 2, 60)
        assert running.lines("WATCHDOG_GRACE_END")[1]["pid"] != grace["pid"]
        assert running.popen.poll() is None


def test_an_outage_of_postgres_longer_than_the_limit_ends_nobody(
    postgres: embedded_postgres.Postgres,
    template_database: str,
    broker_url: str,
    services_folder: Path,
    tmp_path: Path,
) -> None:
    """A server of its own is frozen, so that it neither answers nor refuses."""
    server = embedded_postgres.new_throw_away(services_folder / "frozen")
    with embedded_postgres.running(server, log=tmp_path / "postgres.log"):
        services.create_database(server, "outage")
        url = server.url("outage")
        services.migrate(url)
        env = environment(url, broker_url, tmp_path, **SMALL)
        with worker(env, tmp_path) as one, beat(env, tmp_path) as two:
            for running in (one, two):
                until(partial(running.lines, "WATCHDOG_GRACE_END"), 60, what="it is watched")
            with psycopg.connect(url, autocommit=True) as connection:
                backend = connection.info.backend_pid
            postmaster = psutil.Process(int((server.data / "postmaster.pid").read_text().split()[0]))
            assert backend not in {one.pid, two.pid}
            frozen = [postmaster]
            try:
                postmaster.suspend()  # first, so that nobody is born after the others are counted
                until(
                    lambda: postmaster.status() == psutil.STATUS_STOPPED, what="no backend is born any more"
                )
                frozen += postmaster.children(recursive=True)
                for victim in frozen:
                    with suppress(psutil.NoSuchProcess):  # the backend of the connection above ends by itself
                        victim.suspend()
                until(lambda: two.lines("watchdog.excused"), 90, what="beat sees the outage")
                until(lambda: one.lines("watchdog.excused"), 90, what="the worker sees the outage")
                with pytest.raises(psutil.TimeoutExpired):
                    psutil.Process(two.pid).wait(2 * LIMIT_S)
            finally:
                for victim in frozen:
                    with suppress(psutil.NoSuchProcess):
                        victim.resume()
            ticks = len(two.lines())
            assert one.popen.poll() is None
            assert two.popen.poll() is None
            assert not one.lines("LIVENESS_CHECK_FAILED")
            assert not two.lines("LIVENESS_CHECK_FAILED")
            assert ticks > 0
            db = services_database(url)
            try:
                ledger = Ledger(db, env)
                assert ledger.ended(ledger.run("sleep", "ok:0"), within=60)["outcome"] == "ok"
            finally:
                db.close()


def services_database(url: str) -> Any:
    from tenure.kit.db import Database

    return Database(url, pool_size=2, application="tenure-test")


def test_a_quiet_healthy_system_is_never_ended(
    env: dict[str, str], database_url: str, broker_url: str, tmp_path: Path
) -> None:
    """No traffic from outside, and for the worker of payments no beat that would give it work either."""
    relay_env = {**env, "TENURE_LIVE_URL": broker_url}
    with (
        worker(env, tmp_path) as one,
        process(["tenure", "relay"], log=tmp_path / "relay.log", env=relay_env) as two,
        web_support.running(
            tmp_path,
            database_url=database_url,
            broker_url=broker_url,
            live_url=broker_url,
            TENURE_WATCHDOG_S=str(LIMIT_S),
            TENURE_WATCHDOG_GRACE_S="1",
        ) as web,
    ):
        for running in (one, two):
            until(partial(running.lines, "WATCHDOG_GRACE_END"), 60, what="it is watched")
        until(lambda: [line for line in web.log() if line["event"] == "WATCHDOG_GRACE_END"], 60)
        with pytest.raises(psutil.TimeoutExpired):
            psutil.Process(one.pid).wait(4 * LIMIT_S)
        assert (one.popen.poll(), two.popen.poll(), web.process.poll()) == (None, None, None)
        for events in ([line["event"] for line in r.lines()] for r in (one, two)):
            assert "LIVENESS_CHECK_FAILED" not in events
        assert "LIVENESS_CHECK_FAILED" not in [line["event"] for line in web.log()]
        assert set(one.lines("WATCHDOG_GRACE_END")[0]["counters"]) >= {"lease", "broker", "loop"}
