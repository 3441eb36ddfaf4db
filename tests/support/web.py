"""A real web process for tests: gunicorn with gevent on a free port, real PostgreSQL and Valkey behind it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path
from typing import Any

from tenure.accounts import passwords
from tenure.accounts.api_keys import create_api_key
from tenure.accounts.principal import Role
from tenure.accounts.users import create_user
from tenure.embedded import ports
from tenure.kit.db import Database
from tests.support import services
from tests.support.lines import whole_lines
from tests.support.waiting import until

EMAIL, PASSWORD = "admin@example.com", "correct horse battery"
OFF = {
    "ws_handshakes_per_min": 0,
    "ws_open_per_user": 0,
    "login_per_min": 0,
    "api_per_min": 0,
    "run_per_min": 0,
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: Message
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(slots=True)
class Web:
    """The process, and ways to call it."""

    port: int
    db: Database
    process: subprocess.Popen[bytes]
    log_file: Path
    folder: Path
    keys: dict[str, str] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def key(self, role: str) -> str:
        return self.keys[role]

    def call(
        self,
        method: str,
        path: str,
        *,
        role: str | None = "admin",
        json: Any = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request. Paths without a leading prefix of their own are below /api/v1."""
        own = ("/api/", "/hooks", "/livez", "/readyz", "/metrics", "/flower", "/pay/", "/assets")
        full = path if path in {"/", "/ws"} or path.startswith(own) else f"/api/v1{path}"
        sent = dict(headers or {})
        if role is not None:
            sent.setdefault("Authorization", f"Bearer {self.keys[role]}")
        if json is not None:
            body = _dumps(json)
            sent.setdefault("Content-Type", "application/json")
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, full, body=body, headers=sent)
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        finally:
            connection.close()

    def log(self) -> list[dict[str, Any]]:
        """The lines of its log that are JSON; a line that is not fails the test."""
        return [json.loads(line) for line in whole_lines(self.log_file) if line.strip()]


def _dumps(value: Any) -> bytes:
    return json.dumps(value).encode()


def free_port() -> int:
    """A port that no outgoing connection takes before the server that is given it has started."""
    return ports.any_free()


@contextlib.contextmanager
def running(
    folder: Path,
    *,
    database_url: str,
    broker_url: str,
    live_url: str,
    root: Path = services.ROOT,
    **overlay: str,
) -> Iterator[Web]:
    """A web process that answers, with a user and an API key for each role."""
    db = Database(database_url, pool_size=3, application="test")
    port = free_port()
    log_file = folder / "web.log"
    environment = services.environment(
        **{
            "TENURE_DATABASE_URL": database_url,
            "TENURE_BROKER_URL": broker_url,
            "TENURE_LIVE_URL": live_url,
            "TENURE_DATA_DIR": str(folder),
            "TENURE_SECRET_KEY": "a key for tests that is long enough",
            "TENURE_LIMITS": json.dumps(OFF),
            **overlay,
        }
    )
    command = [sys.executable, "-m", "gunicorn", "-c", "web/gunicorn.conf.py", "--bind", f"127.0.0.1:{port}"]
    with log_file.open("wb") as log:
        process = subprocess.Popen(command, cwd=root, env=dict(environment), stdout=log, stderr=log)
    web = Web(port, db, process, log_file, folder)
    try:
        _accounts(web)
        until(lambda: _answers(web), 120, what="web answers")
        yield web
    finally:
        stop(web)
        db.close()


def stop(web: Web, number: signal.Signals = signal.SIGTERM, within_s: float = 15) -> int:
    """End the process in order; kill it when it does not."""
    if web.process.poll() is None:
        web.process.send_signal(number)
        try:
            web.process.wait(within_s)
        except subprocess.TimeoutExpired:
            os.kill(web.process.pid, signal.SIGKILL)
            web.process.wait(5)
    return web.process.returncode


def _answers(web: Web) -> bool:
    if web.process.poll() is not None:
        raise AssertionError(f"web ended:\n{web.log_file.read_text()[-3000:]}")
    try:
        return web.call("GET", "/livez", role=None).status == 200
    except OSError:
        return False


def _accounts(web: Web) -> None:
    password_hash = passwords.hashed(PASSWORD)
    with web.db.transaction() as session:
        for role in Role:
            email = EMAIL if role is Role.ADMIN else f"{role.value}@example.com"
            user = create_user(session, email=email, password_hash=password_hash, role=role)
            web.ids[role.value] = user["id"]
            key = create_api_key(session, name=f"test {role.value}", role=role, created_by="test")
            web.keys[role.value] = key["key"]
