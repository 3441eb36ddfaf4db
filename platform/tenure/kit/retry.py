"""When to try again: exponential back-off with jitter, and the other side's wish.

Only one layer retries: the job, by a stored `next_at`. Neither the door nor a provider repeats a call,
because layers that each retry multiply. A job marks its repeats with `repeating`, and the guard in front of
the other side keeps them to a budget.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Final

_LONGEST_WISH_S: Final = 86_400.0
_uniform: Final = random.SystemRandom().uniform
_repeats: ContextVar[bool] = ContextVar("repeats", default=False)


@contextmanager
def repeating(is_repeat: bool) -> Iterator[None]:
    """Calls inside the block are repeats of ones that failed, or not."""
    token = _repeats.set(is_repeat)
    try:
        yield
    finally:
        _repeats.reset(token)


def is_repeat() -> bool:
    """Whether what is being called now is a repeat."""
    return _repeats.get()


@dataclass(frozen=True, slots=True)
class Backoff:
    """Doubling pauses (by `factor`) from `first_s` up to `cap_s`."""

    first_s: float
    cap_s: float
    factor: float = 2.0

    def ceiling_s(self, attempt: int) -> float:
        """The longest pause after the `attempt`-th failure (the first is 1)."""
        grown = self.first_s * self.factor ** min(max(attempt, 1) - 1, 64)
        return min(grown, self.cap_s)

    def delay_s(
        self,
        attempt: int,
        *,
        at_least_s: float | None = None,
        uniform: Callable[[float, float], float] = _uniform,
    ) -> float:
        """A pause between half the ceiling and the ceiling, never shorter than the other side asked for.

        The jitter keeps many that failed together from coming back together.
        """
        ceiling = self.ceiling_s(attempt)
        return max(uniform(ceiling / 2, ceiling), at_least_s or 0.0)


def retry_after_s(value: str | None, *, now: datetime) -> float | None:
    """The seconds of a `Retry-After` header (number or HTTP date), at most a day; None when unreadable."""
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), _LONGEST_WISH_S)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        return None
    return min(max((moment - now).total_seconds(), 0.0), _LONGEST_WISH_S)
