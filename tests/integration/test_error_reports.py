"""Errors told to Sentry: real processes, and a server that takes reports as Sentry does."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from tenure.embedded.postgres import Postgres
from tenure.embedded.valkey import Valkey
from tenure.kit import clock
from tenure.kit.db import Database
from tenure.standins.httpserver import HttpStandIn, Reply, Request
from tests.support import services, worker
from tests.support.waiting import until
from tests.support.web import Web, running

CANARY = "CANARY-4f9d2c7be01a83-of-the-hook"


class SentryStandIn(HttpStandIn):
    """Keeps what is posted; while `open` is not set, a post is not answered."""

    def __init__(self) -> None:
        super().__init__()
        self.status = 200
        self.open = threading.Event()
        self.open.set()
        self.posts: list[Request] = []

    def answer(self, request: Request) -> Reply:
        self.posts.append(request)
        self.open.wait(60)
        return Reply(self.status, {"id": "1"}, {"Retry-After": "60"} if self.status == 429 else {})

    @property
    def dsn(self) -> str:
        return f"http://public@127.0.0.1:{self.port}/7"

    def reports(self, message: str | None = None) -> list[dict[str, Any]]:
        """The events of all envelopes, of one message if named."""
        events = [json.loads(post.body.split(b"\n")[2]) for post in self.posts]
        return [event for event in events if message in (None, event["logentry"]["message"])]


@pytest.fixture
def sentry() -> Iterator[SentryStandIn]:
    with SentryStandIn() as made:
        yield made
        made.open.set()


@contextmanager
def web_with(
    postgres: Postgres, template: str, valkey: Valkey, folder: Path, **settings: str
) -> Iterator[Web]:
    """A web process without a table: each look at plans is an error of its own."""
    with (
        services.fresh_database(postgres, template=template) as url,
        running(
            folder,
            database_url=url,
            broker_url=valkey.url(9),
            live_url=valkey.url(10),
            root=services.ROOT,
            TENURE_TELEGRAM_WEBHOOK_SECRET=CANARY,
            **settings,
        ) as web,
    ):
        with web.db.transaction() as session:
            session.execute(text("ALTER TABLE plan RENAME TO plan_away"))
        yield web


@pytest.fixture
def broken(postgres, template_database, valkey_server, tmp_path, sentry) -> Iterator[Web]:
    with web_with(postgres, template_database, valkey_server, tmp_path, TENURE_SENTRY_DSN=sentry.dsn) as made:
        yield made


def test_an_error_is_told_with_its_trace_and_without_any_secret(broken: Web, sentry: SentryStandIn):
    # The database's error quotes the statement's parameters: a code may be whatever somebody types.
    typed = f"{CANARY}-{broken.key('viewer')}-jane.doe@example.com"
    answer = broken.call("GET", f"/plans/{typed}", headers={"X-Request-Id": "find-me"})
    assert (answer.status, answer.json["code"]) == (500, "internal")
    event = until(lambda: sentry.reports("http.failed"), 30, what="a report")[0]
    post = sentry.posts[0]
    assert (post.method, post.path) == ("POST", "/api/7/envelope/")
    assert "sentry_key=public" in post.headers["x-sentry-auth"]
    assert (event["level"], event["environment"]) == ("error", "development")
    assert event["release"].startswith("tenure@")
    assert event["tags"] == {"role": "web", "error_type": "ProgrammingError"}
    assert event["extra"]["request_id"] == "find-me"
    thrown = event["exception"]["values"][-1]
    assert thrown["type"] == "ProgrammingError"
    assert "plan" in thrown["value"]
    assert "***" in thrown["value"], "what was typed stood there"
    assert any("queries" in frame["filename"] for frame in thrown["stacktrace"]["frames"])
    told = json.dumps(event)
    assert not [
        secret for secret in (CANARY, broken.key("viewer"), broken.key("admin"), "jane.doe") if secret in told
    ]
    assert '"vars"' not in told
    assert "request" not in event
    assert "user" not in event


def test_a_job_that_raises_is_told_by_the_worker(
    sentry: SentryStandIn, db: Database, database_url: str, broker_url: str, tmp_path: Path
):
    env = worker.environment(database_url, broker_url, tmp_path, TENURE_SENTRY_DSN=sentry.dsn)
    with worker.worker(env, tmp_path):
        ledger = worker.Ledger(db, env)
        ended = ledger.ended(ledger.run("sleep", "raise"))
        assert ended["outcome"] == "failed"

        def told() -> list[dict[str, Any]]:
            return [event for event in sentry.reports() if "exception" in event]

        event = until(told, 30, what="a report of the job")[0]
    assert event["tags"]["role"] == "celery"
    assert event["exception"]["values"][-1]["type"] == ended["error_type"]


def test_a_sentry_that_does_not_answer_holds_nobody_up(broken: Web, sentry: SentryStandIn):
    sentry.open.clear()
    began = clock.monotonic()
    statuses = [broken.call("GET", "/plans").status for _ in range(120)]
    assert statuses == [500] * 120
    posts, took = len(sentry.posts), clock.monotonic() - began
    # One is given up after 5 s, and then Sentry is left alone for 30 s.
    most = 1 + took // 35
    assert 1 <= posts <= most, "one is at Sentry, the others wait in a queue of a hundred or are dropped"

    def told() -> list[dict[str, Any]]:
        return [one for one in broken.log() if one["event"] == "errors.not_reported"]

    assert {one["level"] for one in until(told, 60)} == {"warning"}


def test_a_sentry_that_has_had_enough_is_left_alone(broken: Web, sentry: SentryStandIn):
    sentry.status = 429
    assert broken.call("GET", "/plans").status == 500

    def refused() -> list[dict[str, Any]]:
        return [one for one in broken.log() if one["event"] == "errors.not_reported"]

    assert until(refused, 30)[0]["rest_s"] == 60
    for _ in range(20):
        assert broken.call("GET", "/plans").status == 500
    assert len(sentry.posts) == 1


def test_without_a_dsn_nothing_is_told_and_nothing_loaded(
    postgres, template_database, valkey_server, tmp_path, sentry
):
    with web_with(postgres, template_database, valkey_server, tmp_path) as web:
        assert web.call("GET", "/plans").status == 500
        assert [one for one in web.log() if one["event"] == "http.failed"]
        maps = Path(f"/proc/{web.process.pid}/maps").read_text()
    assert sentry.posts == []
    assert "sentry" not in maps
    code = (
        "import sys; from tenure.kit.error_reports import report_errors\n"
        "report_errors(None, environment='development'); sys.exit('sentry_sdk' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_without_the_extra_a_dsn_is_refused_by_name():
    code = (
        "import sys; sys.modules['sentry_sdk'] = None\n"
        "from pydantic import SecretStr\n"
        "from tenure.errors import BadSettings\n"
        "from tenure.kit.error_reports import report_errors\n"
        "try: report_errors(SecretStr('https://key@sentry.invalid/1'), environment='production')\n"
        "except BadSettings as error: print(error.errors[0].field, error.message)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.startswith("TENURE_SENTRY_DSN ")
    assert "tenure[sentry]" in done.stdout
    assert "key@" not in done.stdout + done.stderr
