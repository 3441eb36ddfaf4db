"""Workers of these tests: one for a whole file where it survives, or one for a test that ends it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import celery
import psutil
import pytest
from sqlalchemy import text

from tenure.embedded.postgres import Postgres
from tenure.embedded.valkey import Valkey
from tenure.iterations.queues import KEY_PREFIX
from tenure.kit import crash
from tenure.kit.db import Database
from tenure.verify.run import verify
from tests.support import builders as build
from tests.support import services
from tests.support.lines import whole_lines
from tests.support.waiting import until
from tests.support.worker import Ledger, Process, environment, worker

# Between the two a child has time to write its own END, also on a machine that stalls for seconds.
LIMITS = '{"sleep": {"soft_s": 3, "hard_s": 10}}'
# Whoever is struck while it runs shall not have ended by itself before.
PATIENT = '{"sleep": {"soft_s": 120, "hard_s": 150}}'
# Valkey databases of the shared workers, beside those of the per-test fixtures.
_SHARED_BROKER = 3


@pytest.fixture(scope="module")
def shared_env(
    postgres: Postgres,
    template_database: str,
    valkey_server: Valkey,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[dict[str, str]]:
    folder = tmp_path_factory.mktemp("shared")
    broker = valkey_server.url(_SHARED_BROKER)
    with closing(valkey_server.connect(_SHARED_BROKER)) as client:
        client.flushdb()  # what another file's workers left
    with services.fresh_database(postgres, template=template_database) as url:
        yield environment(url, broker, folder, TENURE_JOBS=LIMITS)


@pytest.fixture(scope="module")
def shared_worker(shared_env: dict[str, str]) -> Iterator[Process]:
    with worker(shared_env, Path(shared_env["TENURE_DATA_DIR"]), concurrency=5) as process:
        yield process


@pytest.fixture(scope="module")
def shared_ledger(shared_env: dict[str, str]) -> Iterator[Ledger]:
    db = Database(shared_env["TENURE_DATABASE_URL"], pool_size=2, application="tenure-test")
    yield Ledger(db, shared_env)
    db.close()


@pytest.fixture
def env(database_url: str, broker_url: str, tmp_path: Path) -> dict[str, str]:
    return environment(database_url, broker_url, tmp_path, TENURE_JOBS=PATIENT)


@pytest.fixture
def running(env: dict[str, str], tmp_path: Path) -> Iterator[Process]:
    """A worker that is this test's alone."""
    with worker(env, tmp_path) as process:
        yield process


@pytest.fixture
def ledger(db: Database, env: dict[str, str]) -> Ledger:
    return Ledger(db, env)


@pytest.fixture
def control(env: dict[str, str]) -> Iterator[celery.Celery]:
    """An app of its own on the same broker: what an operator's `celery` command is."""
    with celery.Celery("operator", broker=env["TENURE_BROKER_URL"], set_as_current=False) as app:
        app.conf.broker_transport_options = {"global_keyprefix": KEY_PREFIX}
        app.conf.task_ignore_result = True
        yield app


def accepted(control: celery.Celery, slot: str) -> None:
    """The only worker's parent knows which child has the message, and so will hear of that child's death.

    A child runs before its parent has read that it took the message: were it to die by then, the pool would
    give the message to another child, which ends the run in the parent's place.
    """

    def knows() -> bool:
        answers = control.control.inspect(timeout=20, limit=1).active() or {}
        return f"{slot}.1" in [request["id"] for active in answers.values() for request in active]

    until(knows, what="the parent knows who runs it")


def told(ledger: Ledger, iteration_id: str) -> list[str]:
    """The types of the iteration's events, in order."""
    with ledger.db.transaction() as session:
        rows = session.execute(
            text("SELECT type FROM event WHERE iteration_id = :id ORDER BY n"), {"id": iteration_id}
        )
        return [row.type for row in rows]


def verified(db: Database) -> None:
    """Every invariant holds, once the events have their places (which is the relay's work)."""
    build.give_places(db)
    broken = [(verdict.id, verdict.title, verdict.samples) for verdict in verify(db) if verdict.violated]
    assert broken == []


def crashes(env: dict[str, str]) -> list[dict]:
    """The deaths at crash points, as the processes wrote them down before they died."""
    file = Path(env["TENURE_DATA_DIR"]) / crash.FILE
    return [json.loads(line) for line in whole_lines(file)]


def crashed(env: dict[str, str], point: str, job: str = "", *, within: float = 90) -> dict:
    """The one death at this point (in this job), whose process is gone."""
    death = until(
        lambda: [one for one in crashes(env) if one["point"] == point and job in {"", one["job"]}],
        within_s=within,
        what=f"somebody died at {point} {job}",
    )[0]
    until(lambda: not alive(death["pid"]), what=f"process {death['pid']} is gone")
    return death


def alive(pid: int) -> bool:
    """Whether the process runs: a zombie that nobody has waited for does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
