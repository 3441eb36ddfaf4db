"""Waiting for a condition, with a deadline: the only way a test may wait."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
DEADLINE_S = 60.0
_STEP_S = 0.02


def until(condition: Callable[[], T], within_s: float = DEADLINE_S, *, what: str = "") -> T:
    """The condition's first true value; fail when there never was one."""
    deadline = time.monotonic() + within_s
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(
                f"not within {within_s} s: {what or getattr(condition, '__name__', condition)}"
            )
        time.sleep(_STEP_S)
    return value
