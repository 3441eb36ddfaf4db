"""The hub's loop in production: gevent's. The standard library is patched, so whatever waits yields."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

import gevent

from web.live.driver import Timer, Watch

T = TypeVar("T")
_READ: Final = 1
_WRITE: Final = 2


class GeventDriver:
    """The loop of this thread. Watches and timers are gevent's own: nothing stands before a delivery."""

    def __init__(self) -> None:
        """Binds the loop of the thread that calls this."""
        self._loop: Any = gevent.get_hub().loop

    def readable(self, descriptor: int) -> Watch:
        """See Driver."""
        watch: Watch = self._loop.io(descriptor, _READ)
        return watch

    def writable(self, descriptor: int) -> Watch:
        """See Driver."""
        watch: Watch = self._loop.io(descriptor, _WRITE)
        return watch

    def soon(self, call: Callable[[], None]) -> None:
        """See Driver."""
        self._loop.run_callback(call)

    def every(self, seconds: float, call: Callable[[], None]) -> Timer:
        """See Driver."""
        timer: Any = self._loop.timer(seconds, seconds)
        timer.start(call)
        made: Timer = timer
        return made

    def spawn(self, work: Callable[[], None]) -> None:
        """See Driver."""
        gevent.spawn(work)

    def spawn_later(self, seconds: float, work: Callable[[], None]) -> None:
        """See Driver."""
        gevent.spawn_later(seconds, work)

    def sleep(self, seconds: float) -> None:
        """See Driver."""
        gevent.sleep(seconds)

    def outside(self, call: Callable[[], T]) -> T:
        """See Driver: it yields by itself."""
        return call()
