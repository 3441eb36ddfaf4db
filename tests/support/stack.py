"""The whole stack as an operator starts it, for tests that speak only the public contract."""

from __future__ import annotations

import json
import re
import subprocess
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.installed import UP_S, Installed
from tests.support.lines import whole_lines


@dataclass
class Stack:
    """A running stack and the ways in that the contract names."""

    url: str
    admin_email: str
    admin_password: str
    installed: Installed
    _token: str = field(default="", repr=False)

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a `tenure` command against this stack."""
        return self.installed.run(*arguments, within_s=300)

    def json(self, *arguments: str, exit_code: int = 0) -> Any:
        """The one document that a `--json` command prints."""
        done = self.command(*arguments, "--json")
        assert done.returncode == exit_code, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return json.loads(done.stdout)

    def api(self, method: str, path: str, body: Any = None, *, expect: int | None = None) -> Any:
        """Call the API as the admin; the JSON of the answer."""
        request = urllib.request.Request(
            f"{self.url}/api/v1{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Content-Type": "application/json",
                "Idempotency-Key": uuid.uuid4().hex,
                "Authorization": f"Bearer {self._bearer()}",
            },
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                status, raw = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            status, raw = error.code, error.read()
        allowed = {expect} if expect else {200, 201, 202, 204}
        assert status in allowed, f"{method} {path}: {status} {raw[:2000]!r}"
        return json.loads(raw) if raw else None

    def log_lines(self, event: str) -> list[dict[str, Any]]:
        """The log lines of this event over all roles."""
        marks = (f'"event": "{event}"', f'"event":"{event}"')
        return [
            json.loads(line)
            for file in sorted((self.installed.data_dir / "logs").glob("*.log*"))
            for line in whole_lines(file)
            if any(mark in line for mark in marks)
        ]

    def _bearer(self) -> str:
        if not self._token:
            created = self.json("apikey", "create", f"test-{uuid.uuid4().hex[:6]}", "--role", "admin")
            self._token = created["key"]
        return self._token


@contextmanager
def running_stack(data_dir: Path, **settings: str) -> Iterator[Stack]:
    """`tenure up --no-demo --detach` until it prints READY; `tenure down` at the end."""
    installed = Installed(data_dir, **settings)
    up = installed.up()
    try:
        assert up.returncode == 0, f"{up.stdout}\n{up.stderr}"
        ready = re.search(r"^READY (http://\S+)$", up.stdout, re.MULTILINE)
        email = re.search(r"first admin\s+(\S+)", up.stdout)
        password = re.search(r"password\s+(\S+)", up.stdout)
        assert ready, up.stdout
        assert email, up.stdout
        assert password, up.stdout
        yield Stack(ready[1], email[1], password[1], installed)
    finally:
        down = installed.run("down", within_s=UP_S)
    assert down.returncode == 0, f"{down.stdout}\n{down.stderr}"
