"""Threads of one iteration that call the outside at the same time, and take turns at the database.

A body claims in a short transaction, calls without one, and writes in another; at most two transactions of
the crew are open at once, whatever its size, because a worker has few connections.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from sqlalchemy.orm import Session

from tenure.iterations.run import Run
from tenure.kit import clock

_CONNECTIONS: Final = 2
# When the iteration is stopped from outside, calls that are under way may still end.
_FAREWELL_S: Final = 12.0
_LOOK_S: Final = 0.5

Body = Callable[["Crew"], None]


class Crew:
    """What the threads of one iteration share."""

    def __init__(self, run: Run) -> None:
        """Nobody works yet."""
        self.run = run
        self._stop = threading.Event()
        self._connections = threading.BoundedSemaphore(_CONNECTIONS)
        self._lock = threading.Lock()
        self._error: BaseException | None = None

    @property
    def goes_on(self) -> bool:
        """Whether new work may be taken."""
        return self.run.has_time and not self._stop.is_set()

    def stop(self) -> None:
        """Nobody takes new work any more."""
        self._stop.set()

    def rest(self, seconds: float) -> None:
        """Wait, but not past the order to stop."""
        self._stop.wait(seconds)

    def count(self, *, seen: int = 0, done: int = 0, skipped: int = 0, failed: int = 0) -> None:
        """Add to the iteration's counters."""
        with self._lock:
            counters = self.run.counters
            counters.seen += seen
            counters.done += done
            counters.skipped += skipped
            counters.failed += failed

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """A fenced transaction, when one of the crew's connections is free."""
        with self._connections, self.run.transaction() as session:
            yield session

    def work(self, bodies: Sequence[Body]) -> None:
        """Run each body in a thread of its own until all have returned.

        The first error stops the others and is raised here.
        """
        threads = [
            threading.Thread(target=contextvars.copy_context().run, args=(self._guarded, body), daemon=True)
            for body in bodies
        ]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                while thread.is_alive():
                    thread.join(_LOOK_S)
        finally:
            self.stop()
            deadline = clock.monotonic() + _FAREWELL_S
            for thread in threads:
                thread.join(max(0.0, deadline - clock.monotonic()))
        if self._error is not None:
            raise self._error

    def _guarded(self, body: Body) -> None:
        try:
            body(self)
        except BaseException as error:  # noqa: BLE001 - the edge of a thread: raised again by work()
            with self._lock:
                self._error = self._error or error
            self.stop()
