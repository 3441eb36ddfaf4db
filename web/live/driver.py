"""What the hub asks of its loop: watches on sockets, a timer, and work that runs beside it.

Whoever runs code of the hub has the turn: one at a time, until it waits. So nothing of the hub needs a lock.
Production has greenlets (`gevent_driver`); tests drive the same hub with real threads, unpatched.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

T = TypeVar("T")


class Watch(Protocol):
    """A readiness of one descriptor; each time it is there, from `start` until `stop`, the call is made."""

    @property
    def active(self) -> bool:
        """Whether it was started and not stopped since."""
        ...

    def start(self, call: Callable[[], None], /) -> None:
        """Begin."""

    def stop(self) -> None:
        """Pause."""

    def close(self) -> None:
        """End; before the descriptor is closed."""


class Timer(Protocol):
    """Calls again and again until it is stopped."""

    def stop(self) -> None:
        """No further call begins."""


class Driver(Protocol):
    """The loop of one process. Everything but `sleep` and `outside` returns at once and keeps the turn."""

    def readable(self, descriptor: int) -> Watch:
        """A watch for what can be read, not started."""
        ...

    def writable(self, descriptor: int) -> Watch:
        """A watch for room to write, not started."""
        ...

    def soon(self, call: Callable[[], None]) -> None:
        """Call in the loop, when this turn and those that wait already are over."""

    def every(self, seconds: float, call: Callable[[], None]) -> Timer:
        """Call in the loop every so many seconds, for the first time after so many."""
        ...

    def spawn(self, work: Callable[[], None]) -> None:
        """Begin this work beside the loop; it may wait for Postgres or Valkey."""

    def spawn_later(self, seconds: float, work: Callable[[], None]) -> None:
        """Begin this work after so many seconds."""

    def sleep(self, seconds: float) -> None:
        """Give the turn away for this time; 0 lets others have theirs."""

    def outside(self, call: Callable[[], T]) -> T:
        """The result of a call that touches nothing of the hub and may wait long: others have their turns."""
        ...
