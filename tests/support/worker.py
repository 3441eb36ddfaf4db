"""A real worker process (and beat) for tests, started and ended by the test that uses it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tenure.iterations import queries, slots
from tenure.iterations.catalog import catalog
from tenure.kit.db import Database
from tenure.settings import load
from tests.support.lines import whole_lines
from tests.support.waiting import until

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Process:
    """One process of ours and its log."""

    popen: subprocess.Popen[bytes]
    log: Path

    @property
    def pid(self) -> int:
        return self.popen.pid

    def lines(self, event: str | None = None) -> list[dict[str, Any]]:
        """The JSON lines of its log, of one event if named."""
        found = []
        for line in whole_lines(self.log):
            try:
                entry = json.loads(line)
            except json.JSONDecodeError:
                continue
            if event is None or entry.get("event") == event:
                found.append(entry)
        return found

    def children(self) -> list[int]:
        return [child.pid for child in psutil.Process(self.pid).children(recursive=True)]

    def stop(self, within: float = 20) -> None:
        """End it in order, and by force when it does not listen."""
        if self.popen.poll() is None:
            self.popen.send_signal(signal.SIGTERM)
            try:
                self.popen.wait(within)
            except subprocess.TimeoutExpired:
                self.popen.kill()
                self.popen.wait(10)


@contextmanager
def process(arguments: list[str], *, log: Path, env: dict[str, str], root: Path = ROOT) -> Iterator[Process]:
    """Run `python -m ARGUMENTS` from the root of the project, or of a copy of it."""
    with log.open("wb") as output:
        popen = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            cwd=root,
            env={**os.environ, **env},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        running = Process(popen, log)
        try:
            yield running
        finally:
            if popen.poll() is None:
                popen.send_signal(signal.SIGCONT)  # a frozen process hears no SIGTERM
            running.stop()


def environment(database_url: str, broker_url: str, data_dir: Path, **more: str) -> dict[str, str]:
    """What makes a process belong to the test's servers."""
    return {
        "TENURE_DATABASE_URL": database_url,
        "TENURE_BROKER_URL": broker_url,
        "TENURE_LIVE_URL": broker_url,
        "TENURE_DATA_DIR": str(data_dir),
        "TENURE_NODE_LEASE_S": "3",
        **more,
    }


@contextmanager
def worker(
    env: dict[str, str],
    folder: Path,
    *,
    name: str = "worker",
    queues: str = "default,payments",
    concurrency: int = 2,
    root: Path = ROOT,
    overrides: tuple[str, ...] = (),
) -> Iterator[Process]:
    """A worker that is ready: its node's lease is in the database.

    `overrides` are Celery settings of its command line, such as `worker.soft_shutdown_timeout=4`.
    """
    arguments = [
        "celery", "-A", "tasks", "worker", "-Q", queues, "-c", str(concurrency), "-n", f"{name}@%h",
        "--without-gossip", "--without-mingle", *(("--", *overrides) if overrides else ()),
    ]  # fmt: skip
    with process(arguments, log=folder / f"{name}.log", env=env, root=root) as running:
        until(
            lambda: (
                any("ready." in line["event"] for line in running.lines()) or running.popen.poll() is not None
            ),
            within_s=120,
            what="the worker is ready",
        )
        assert running.popen.poll() is None, running.log.read_text()[-2000:]
        yield running


@contextmanager
def beat(env: dict[str, str], folder: Path, *, name: str = "beat") -> Iterator[Process]:
    """A beat process."""
    with process(
        ["celery", "-A", "tasks", "beat", "--pidfile="], log=folder / f"{name}.log", env=env
    ) as running:
        yield running


class Ledger:
    """What a test asks of the ledger from outside the worker."""

    def __init__(self, db: Database, env: dict[str, str]) -> None:
        self.db = db
        self.settings = load(env)

    def run(self, job: str, scope: str = "") -> str:
        """Ask for a run as the command line does: a worker's house-keeping publishes it; the slot's id."""
        with self.db.transaction() as session:
            return slots.request_run(session, catalog(self.settings)[job], scope=scope).slot_id

    def slot(self, slot_id: str) -> dict[str, Any]:
        with self.db.transaction() as session:
            return queries.slot(session, slot_id)

    def iterations(self, slot_id: str) -> list[dict[str, Any]]:
        with self.db.transaction() as session:
            return queries.iterations(session, slot_id=slot_id).items

    def started(self, slot_id: str, *, within: float = 60) -> dict[str, Any]:
        """The slot's iteration once it has its START."""
        return until(lambda: self.iterations(slot_id), within_s=within, what="START")[0]

    def ended(self, slot_id: str, *, within: float = 60) -> dict[str, Any]:
        """The slot's only iteration once it has its END."""
        found = until(
            lambda: [i for i in self.iterations(slot_id) if i["ended_at"]], within_s=within, what="END"
        )
        assert len(self.iterations(slot_id)) == 1
        return found[0]
