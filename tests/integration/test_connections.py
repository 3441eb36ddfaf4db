"""Connections: few, bounded, tried three times, and refused with a sentence that helps.

What every start is checked for: starting (`test_up`), a socket's connect, the figures of a node and an
orderly shutdown (`test_web_live`), a Redis that does not answer and a wrong database name (here).
"""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import psycopg
import pytest
import redis
from sqlalchemy import text

from tenure.embedded import budget, ports
from tenure.embedded import valkey as embedded_valkey
from tenure.embedded.postgres import Postgres
from tenure.errors import BadSettings, Unavailable
from tenure.kit import clock
from tenure.kit.db import Database, PooledDoor, StatementDoor, check_reachable
from tenure.kit.valkey import connect
from tenure.settings import load
from tests.support import builders, services
from tests.support import web as web_support
from tests.support.waiting import until
from tests.support.worker import beat, environment, process, worker

BOUND_S = 6.0


# -- Redis that does not answer -------------------------------------------------------------------------


@pytest.fixture
def black_hole() -> Iterator[str]:
    """Connections are taken, and nothing ever comes back."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"redis://127.0.0.1:{server.getsockname()[1]}/0"


@pytest.fixture
def frozen(tmp_path: Path) -> Iterator[str]:
    """A real server that has been stopped by a signal."""
    server = embedded_valkey.new_throw_away(tmp_path / "valkey")
    with embedded_valkey.running(server, log=tmp_path / "valkey.log"):
        with connect(server.url(0)) as client:
            pid = int(client.info("server")["process_id"])
        victim = psutil.Process(pid)
        victim.suspend()
        until(lambda: victim.status() == psutil.STATUS_STOPPED)
        yield server.url(0)
        victim.resume()


def keeps_the_bound(act: Callable[[], None]) -> bool:
    """Whether it ended within the bound.

    A machine that stalls only adds to the time: who keeps the bound once of a few times keeps it, and who
    waits for longer of his own never does.
    """
    began = clock.monotonic()
    act()
    return clock.monotonic() - began < BOUND_S


def _both(client: redis.Redis) -> Any:
    with client.pipeline(transaction=False) as pipe:
        pipe.get("x")
        pipe.get("y")
        return pipe.execute()


OPERATIONS: dict[str, Callable[[redis.Redis], Any]] = {
    "get": lambda client: client.get("x"),
    "publish": lambda client: client.publish("x", "y"),
    "pipeline": _both,
    "ping": lambda client: client.ping(),
}


@pytest.mark.parametrize("where", ["black_hole", "frozen"])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_redis_timeout_an_operation_fails_within_six_seconds(
    where: str, operation: str, request: pytest.FixtureRequest
) -> None:
    with connect(request.getfixturevalue(where)) as client:

        def times_out() -> None:
            with pytest.raises(redis.TimeoutError):
                OPERATIONS[operation](client)

        until(lambda: keeps_the_bound(times_out), 60, what="it fails in time")


def test_redis_timeout_a_request_of_the_api_is_answered_all_the_same(
    database_url: str, broker_url: str, frozen: str, tmp_path: Path
) -> None:
    limits = json.dumps({"api_per_min": 600, "login_per_min": 20})
    with web_support.running(
        tmp_path, database_url=database_url, broker_url=broker_url, live_url=frozen, TENURE_LIMITS=limits
    ) as web:

        def answers(path: str) -> None:
            assert web.call("GET", path).status == 200

        for path in ("/customers", "/customers", "/jobs"):
            until(lambda path=path: keeps_the_bound(lambda: answers(path)), 60, what="it is answered in time")  # type: ignore[misc]
        ready = web.call("GET", "/readyz", role=None)
        assert ready.status == 200
        assert ready.json["status"] == "degraded"
        assert (ready.json["parts"]["live"], ready.json["parts"]["database"]) == ("down", "ok")


# -- PostgreSQL that cannot be used ---------------------------------------------------------------------


def test_wrong_database_name_is_answered_with_those_that_exist(
    postgres: Postgres, template_database: str
) -> None:
    with pytest.raises(BadSettings) as refused:
        check_reachable(postgres.url("tenure_wrong"))
    assert "'tenure_wrong' does not exist at 127.0.0.1:" in refused.value.message
    assert template_database in refused.value.message
    assert postgres.password not in refused.value.message


@pytest.mark.parametrize(
    ("role", "command", "code"),
    [
        ("migrate", ["tenure", "migrate"], 2),
        ("relay", ["tenure", "relay"], 2),
        ("exporter", ["tenure", "exporter", "--port", "0"], 2),
        ("beat", ["celery", "-A", "tasks", "beat", "--pidfile="], 2),
        ("worker", ["celery", "-A", "tasks", "worker", "-c", "1"], 2),
        # gunicorn's own code for a worker that cannot start
        ("web", ["gunicorn", "-c", "web/gunicorn.conf.py", "--bind", "127.0.0.1:0"], 3),
    ],
)
def test_wrong_database_name_stops_each_role_at_its_start(
    role: str, command: list[str], code: int, postgres: Postgres, broker_url: str, tmp_path: Path
) -> None:
    env = environment(postgres.url("tenure_wrong"), broker_url, tmp_path)
    if role == "exporter":
        command = [*command[:-1], str(ports.any_free())]
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=services.ROOT,
        env=services.environment(**env),
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    said = done.stdout + done.stderr
    assert "'tenure_wrong' does not exist" in said, said
    assert "Traceback" not in said
    assert done.returncode == code, said


def test_wrong_credentials_are_tried_once(postgres: Postgres, services_folder: Path) -> None:
    url = postgres.url("postgres").replace("tenure:", "a_stranger:", 1)
    with pytest.raises(BadSettings, match="refuses the user or the password"):
        check_reachable(url)
    log = (services_folder / "postgres.log").read_text()
    assert log.count('FATAL:  password authentication failed for user "a_stranger"') == 1


def test_a_server_that_is_not_there_is_tried_three_times() -> None:
    tries = 0
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(30)

        def hang_up() -> None:
            nonlocal tries
            while True:
                try:
                    taken, _ = server.accept()
                except OSError:
                    return
                tries += 1
                taken.close()

        threading.Thread(target=hang_up, daemon=True).start()
        port = server.getsockname()[1]
        with pytest.raises(Unavailable, match=f"no PostgreSQL answers at 127.0.0.1:{port}"):
            check_reachable(f"postgresql://x:y@127.0.0.1:{port}/z?sslmode=disable&gssencmode=disable")
    assert tries == 3


def test_a_server_that_takes_connections_and_says_nothing_is_given_up(black_hole: str) -> None:
    port = urlsplit(black_hole).port
    began = clock.monotonic()
    with pytest.raises(Unavailable, match="no PostgreSQL answers"):
        check_reachable(f"postgresql://x:y@127.0.0.1:{port}/z")
    assert clock.monotonic() - began < 60


# -- how many -------------------------------------------------------------------------------------------


def test_the_budget_is_refused_with_its_table_before_anything_starts(tmp_path: Path) -> None:
    env = services.environment(TENURE_ENV="development", TENURE_DB_POOL_MAX_SIZE="400")
    done = subprocess.run(
        [sys.executable, "-m", "tenure", "up", "--no-demo", "--data-dir", str(tmp_path / "stack")],
        env=dict(env),
        cwd=services.ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2, done.stdout + done.stderr
    assert "max_connections 200 less 5" in done.stderr
    for share in budget.shares(load({"TENURE_DB_POOL_MAX_SIZE": "400"})):
        assert f"{share.role} " in done.stderr
    assert not (tmp_path / "stack" / "postgres").exists()


def test_doctor_and_up_ask_the_same_budget(database_url: str, tmp_path: Path) -> None:
    given = load({"TENURE_DATA_DIR": str(tmp_path)})
    wanted = sum(share.total for share in budget.shares(given))
    assert budget.check(given, wanted + budget.RESERVED) == wanted
    with pytest.raises(BadSettings, match="raise max_connections"):
        budget.check(given, wanted + budget.RESERVED - 1)
    for size, code in (("25", 0), ("400", 1)):
        done = subprocess.run(
            [sys.executable, "-m", "tenure", "doctor", "--json"],
            env=services.environment(
                TENURE_DATABASE_URL=database_url,
                TENURE_DATA_DIR=str(tmp_path),
                TENURE_DB_POOL_MAX_SIZE=size,
            ),
            cwd=services.ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        found = {one["what"]: one for one in json.loads(done.stdout)["findings"]}
        assert (found["connections"]["verdict"] == "ok") is (code == 0)
        assert found["schema"]["verdict"] == "ok"


def _held(pid: int, port: int) -> set[int]:
    """Our ports of the process's connections to the server, those of its parent at the fork included."""
    connections = psutil.Process(pid).net_connections(kind="tcp")
    return {
        one.laddr.port
        for one in connections
        if one.status == psutil.CONN_ESTABLISHED and one.raddr and one.raddr.port == port
    }


@pytest.mark.kill
def test_no_process_holds_more_connections_than_its_share(
    database_url: str, broker_url: str, tmp_path: Path
) -> None:
    port = urlsplit(database_url).port or 0
    env = environment(database_url, broker_url, tmp_path)
    most: dict[str, int] = {}
    parents: set[int] = set()
    with (
        worker(env, tmp_path) as parent,
        beat(env, tmp_path) as scheduler,
        process(["tenure", "relay"], log=tmp_path / "relay.log", env=env) as relay,
        psycopg.connect(database_url, autocommit=True) as asking,
    ):
        deadline = time.monotonic() + 300

        def ended() -> int:
            row = asking.execute("SELECT count(*) FROM iteration WHERE outcome = 'ok'").fetchone()
            return row[0] if row else 0

        while ended() < 15:
            assert time.monotonic() < deadline, "jobs run"
            for name, pid in (("parent", parent.pid), ("beat", scheduler.pid), ("relay", relay.pid)):
                now = _held(pid, port)
                most[name] = max(most.get(name, 0), len(now))
                parents |= now if name == "parent" else set()
            for pid in parent.children():
                most["child"] = max(most.get("child", 0), len(_held(pid, port) - parents))
        assert [line["max_size"] for line in scheduler.lines("db.pool")] == [1]
        assert [line["max_size"] for line in parent.lines("db.pool")] == [2]
    allowed = {"parent": 2, "beat": 2, "relay": 2, "child": 3}
    assert set(most) == set(allowed)
    assert all(0 < most[name] <= allowed[name] for name in allowed), most


def test_every_connection_has_its_bounds(database_url: str) -> None:
    names = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
    wanted = {"pool": ("30s", "5s", "10s"), "door": ("3s", "2s", "10s")}
    db, door = (
        Database(database_url, pool_size=1, application="a"),
        StatementDoor(database_url, application="b"),
    )
    try:
        with db.statements() as connection:
            pool = tuple(connection.execute(f"SHOW {name}").fetchall()[0][0] for name in names)
            sockets = connection.info.get_parameters()
        assert pool == wanted["pool"]
        assert tuple(door.run(f"SHOW {name}")[0][name] for name in names) == wanted["door"]
        # A silent network is found by these: PostgreSQL's own limits cannot fire in a server that is gone.
        assert (sockets["keepalives"], sockets["tcp_user_timeout"]) == ("1", "10000")
        assert sockets["connect_timeout"] == "5"
    finally:
        door.close()
        db.close()


def test_what_a_killed_process_asked_for_is_ended_by_the_server(database_url: str) -> None:
    asking = (
        "import sys; from tenure.kit.db import StatementDoor as Door;"
        "Door(sys.argv[1], application='tenure-killed', statement_timeout_s=300).run('SELECT pg_sleep(299)')"
    )
    client = subprocess.Popen([sys.executable, "-c", asking, database_url], cwd=services.ROOT)
    with psycopg.connect(database_url, autocommit=True) as server:

        def sleeping() -> bool:
            found = server.execute(
                "SELECT 1 FROM pg_stat_activity WHERE application_name = 'tenure-killed' AND state = 'active'"
            )
            return found.fetchone() is not None

        try:
            until(sleeping, what="its statement runs")
        finally:
            client.kill()
            assert client.wait() == -signal.SIGKILL
        until(lambda: not sleeping(), 60, what="the server has ended it")


def test_connections_that_were_ended_in_the_pool_are_handed_to_nobody(database_url: str) -> None:
    db = Database(database_url, pool_size=3, application="tenure-ended")
    try:
        with db.statements(), db.statements(), db.statements():
            pass
        with psycopg.connect(database_url, autocommit=True) as server:
            ended = server.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s",
                ["tenure-ended"],
            ).fetchall()
            assert ended == [(True,)] * 3
        for _ in range(6):
            with db.transaction() as session:
                assert session.execute(text("SELECT 1")).scalar_one() == 1
    finally:
        db.close()


def test_no_statement_of_a_run_lasts_as_long_as_the_runs_limit(db: Database) -> None:
    run = replace(builders.run(db, "payment_watcher"), soft_s=0.5)
    with pytest.raises(Unavailable), run.transaction() as session:
        session.execute(text("SELECT pg_sleep(20)"))
    # The bound is the run's own: the pool's connection is as it was.
    with db.transaction() as session:
        assert session.execute(text("SHOW statement_timeout")).scalar_one() == "30s"
    patient = replace(run, soft_s=600)
    with patient.transaction() as session:
        assert session.execute(text("SHOW statement_timeout")).scalar_one() == "30s"


def test_a_pool_of_one_serves_statements_transactions_and_notifications(database_url: str) -> None:
    db = Database(database_url, pool_size=1, application="tenure-test")
    door = PooledDoor(db)
    try:
        db.wait_for("tenure_test", 0)  # from here on it listens
        door.run("SELECT pg_notify('tenure_test', 'early')")  # while it does something else
        began = clock.monotonic()
        db.wait_for("tenure_test", 20)
        assert clock.monotonic() - began < 15
        assert door.run("SELECT %(x)s::int AS x", {"x": 7}) == [{"x": 7}]
        with pytest.raises(Unavailable):
            door.run("SELECT pg_terminate_backend(pg_backend_pid())")
        assert door.run("SELECT 1 AS one") == [{"one": 1}]  # on a new connection
    finally:
        db.close()
