"""CPU-heavy calls leave the event loop: under gevent they run in real threads, as many as there are cores.

Hashing a password takes some 20 ms and 19 MiB: more at once than there are cores makes everything slower, and
a pool of its own keeps a storm of logins from holding up name look-ups, which use gevent's.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Final, TypeVar

import gevent
from gevent import monkey
from gevent.threadpool import ThreadPool

from tenure.errors import TooManyRequests

T = TypeVar("T")
THREADS: Final = max(2, os.cpu_count() or 1)
# A queue longer than this takes seconds to get through.
_MOST_WAITING: Final = 100


class _Offload:
    """The threads of this process, and how many calls are with them."""

    def __init__(self) -> None:
        """Starts no thread before the first call."""
        self._pool: ThreadPool | None = None
        self.waiting = 0

    def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """The function's result. Raises TooManyRequests when too many wait already."""
        if self.waiting >= _MOST_WAITING:
            raise TooManyRequests(2)
        if self._pool is None:
            self._pool = ThreadPool(THREADS, hub=gevent.get_hub())
        self.waiting += 1
        try:
            result: T = self._pool.apply(function, arguments)
        finally:
            self.waiting -= 1
        return result


_offload: Final = _Offload()


def is_gevent() -> bool:
    """Whether this process runs on gevent's loop."""
    return bool(monkey.is_module_patched("socket"))


def in_thread(function: Callable[..., T], *arguments: Any) -> T:
    """Call in a real thread when there is a loop to keep free, else right here.

    Raises TooManyRequests when a hundred calls wait for a thread already.
    """
    if not is_gevent():
        return function(*arguments)
    return _offload.call(function, *arguments)
