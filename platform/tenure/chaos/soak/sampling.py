"""What every process of a stack takes, sampled while it works: memory, open files, threads; and the pool."""

from __future__ import annotations

import threading
from contextlib import closing
from dataclasses import dataclass
from typing import Final

import psutil

from tenure.chaos.throwaway import Stack
from tenure.embedded.process import Identity
from tenure.errors import Unavailable
from tenure.kit import clock
from tenure.kit.db import StatementDoor

# Servers of others: what they keep in memory is theirs to decide (shared buffers, the data set).
SERVERS: Final = frozenset({"postgres", "valkey", "valkey-live"})
_POOL: Final = """
SELECT count(*) AS open, count(*) FILTER (WHERE state <> 'idle') AS used FROM pg_stat_activity
WHERE datname = current_database() AND application_name = 'tenure-web'
"""
_MEGABYTE: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Sample:
    """One process at one moment: `at_s` seconds into the run, resident memory in megabytes."""

    at_s: float
    role: str
    process: Identity
    rss_mb: float
    files: int
    threads: int


@dataclass(frozen=True, slots=True)
class PoolSample:
    """The web role's connections at one moment. `open` never falls: a pool keeps what it once needed."""

    open: int
    used: int


class Sampler(threading.Thread):
    """Samples every few seconds until it is stopped. What it found is in its fields."""

    def __init__(self, stack: Stack, *, every_s: float) -> None:
        """Nothing is sampled before `start()`."""
        super().__init__(name="sampler", daemon=True)
        self.samples: list[Sample] = []
        self.pool: list[PoolSample] = []
        self.missed = 0
        self._stack = stack
        self._every_s = every_s
        self._stopping = threading.Event()
        self._began = clock.monotonic()

    def run(self) -> None:
        """Until `stop()`."""
        with closing(
            StatementDoor(self._stack.database_url, application="tenure-soak", statement_timeout_s=10)
        ) as door:
            while not self._stopping.wait(self._every_s):
                self._sample_processes()
                self._sample_pool(door)

    def stop(self) -> None:
        """No sample is taken after this."""
        self._stopping.set()
        self.join()

    def _sample_processes(self) -> None:
        for role in self._stack.roles():
            if role in SERVERS:
                continue
            own = self._stack.identity(role)
            for one in ([own] if own else []) + self._stack.children(role):
                self._sample(role, one)

    def _sample(self, role: str, one: Identity) -> None:
        try:
            seen = psutil.Process(one.pid)
            with seen.oneshot():
                rss_mb = round(seen.memory_info().rss / _MEGABYTE, 2)
                files, threads = seen.num_fds(), seen.num_threads()
        except psutil.Error:
            return  # it ended meanwhile: a worker replaces its children now and then
        at_s = round(clock.monotonic() - self._began, 1)
        self.samples.append(Sample(at_s, role, one, rss_mb, files, threads))

    def _sample_pool(self, door: StatementDoor) -> None:
        try:
            (row,) = door.run(_POOL)
        except Unavailable:
            self.missed += 1
            return
        self.pool.append(PoolSample(int(row["open"]), int(row["used"])))
