"""Which endpoints are left alone for now: busy ones, and those that just failed several times.

A dead endpoint answers nobody for fifteen seconds at a time; without this it would keep every thread, and
the others would wait for it.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_MOST_AT_ONCE: Final = 3
_GIVE_UP_AFTER: Final = 3


class Traffic:
    """The calls of one iteration, over all its threads."""

    def __init__(self) -> None:
        """Nobody is called yet."""
        self._lock = threading.Lock()
        self._calling: Counter[str] = Counter()
        self._failures: Counter[str] = Counter()

    def avoid(self) -> list[str]:
        """The endpoints that are not called now."""
        with self._lock:
            busy = {name for name, count in self._calling.items() if count >= _MOST_AT_ONCE}
            failing = {name for name, count in self._failures.items() if count >= _GIVE_UP_AFTER}
        return sorted(busy | failing)

    @property
    def any(self) -> bool:
        """Whether somebody is being called."""
        with self._lock:
            return any(self._calling.values())

    @contextmanager
    def calling(self, endpoint_id: str) -> Iterator[None]:
        """One call of this endpoint."""
        with self._lock:
            self._calling[endpoint_id] += 1
        try:
            yield
        finally:
            with self._lock:
                self._calling[endpoint_id] -= 1

    def leave(self, endpoint_id: str) -> None:
        """This endpoint is not called any more in this iteration."""
        with self._lock:
            self._failures[endpoint_id] = _GIVE_UP_AFTER

    def note(self, endpoint_id: str, *, delivered: bool) -> None:
        """How a call ended: one success forgets the failures before it."""
        with self._lock:
            self._failures[endpoint_id] = 0 if delivered else self._failures[endpoint_id] + 1
