"""Web processes that are ended, killed and started again, and a balancer's view of those that are ready."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tenure.kit.db import Database
from tests.support import services
from tests.support import web as web_support
from tests.support.lines import whole_lines
from tests.support.waiting import until
from tests.support.web import Web

WITHOUT_LIMITS = json.dumps({**web_support.OFF, "ws_open_per_address": 0})
START_S = 120.0


@dataclass(slots=True)
class Node:
    """One gunicorn with its worker."""

    process: subprocess.Popen[bytes]
    port: int
    log_file: Path

    def lines(self, event: str) -> list[dict[str, Any]]:
        """The lines of its log about this event."""
        found = [json.loads(line) for line in whole_lines(self.log_file) if line.startswith("{")]
        return [line for line in found if line.get("event") == event]

    def put_down(self) -> None:
        """Master and worker are gone."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(60)

    def end(self, within_s: float = 40.0) -> None:
        """End it in order."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(within_s) == 0


@dataclass(slots=True)
class Nodes:
    """All nodes of a deployment; `url` and `socket_url` lead to one that is ready, each time to the next."""

    web: Web
    environment: dict[str, str]
    running: list[Node] = field(default_factory=list)
    ca_file: str | None = None
    started: int = 0
    _turns: itertools.count[int] = field(default_factory=itertools.count)

    @property
    def url(self) -> str:
        """A node's address; that of nobody while there is none."""
        ready = list(self.running)
        return f"http://127.0.0.1:{ready[next(self._turns) % len(ready)].port if ready else 9}"

    @property
    def socket_url(self) -> str:
        return "ws" + self.url.removeprefix("http") + "/ws"

    def start(self) -> Node:
        """One more node, which serves when this returns."""
        self.started += 1
        port = web_support.free_port()
        log_file = self.web.folder / f"web-{self.started}.log"
        command = [
            *(sys.executable, "-m", "gunicorn", "-c", "web/gunicorn.conf.py"),
            *("--bind", f"127.0.0.1:{port}"),
        ]
        with log_file.open("wb") as log:
            process = subprocess.Popen(
                command,
                cwd=services.ROOT,
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        node = Node(process, port, log_file)
        try:
            until(
                lambda: node.lines("ws.started") or process.poll() is not None,
                START_S,
                what="the node has started",
            )
            assert process.poll() is None, log_file.read_text()[-3000:]
        except AssertionError:
            node.put_down()
            raise
        self.running.append(node)
        self.web.port = port
        return node

    def kill(self, node: Node) -> None:
        """The node is gone at once; it was alive until now."""
        assert node.process.poll() is None
        node.put_down()
        self.running.remove(node)

    def end(self, node: Node) -> None:
        """Send nobody there any more, and end it in order."""
        self.running.remove(node)
        try:
            node.end()
        finally:
            node.put_down()


@contextlib.contextmanager
def nodes(
    folder: Path, *, database_url: str, broker_url: str, live_url: str, count: int = 1, **overlay: str
) -> Iterator[Nodes]:
    """So many nodes, and a user and an API key for each role."""
    db = Database(database_url, pool_size=3, application="test")
    environment = services.environment(
        **{
            "TENURE_DATABASE_URL": database_url,
            "TENURE_BROKER_URL": broker_url,
            "TENURE_LIVE_URL": live_url,
            "TENURE_DATA_DIR": str(folder),
            "TENURE_SECRET_KEY": "a key for tests that is long enough",
            "TENURE_LIMITS": WITHOUT_LIMITS,
            "TENURE_DRAIN_DELAY_S": "0",
            **overlay,
        }
    )
    web = Web(0, db, None, folder / "none", folder)  # type: ignore[arg-type] # its calls go to the newest node
    made = Nodes(web, dict(environment))
    try:
        web_support._accounts(made.web)
        for _ in range(count):
            made.start()
        yield made
    finally:
        for node in made.running:
            node.put_down()
        db.close()
