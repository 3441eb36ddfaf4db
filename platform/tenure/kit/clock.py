"""The process's own clocks, for measuring and for labels only.

Decisions are made by the database's clocks (`tenure_now()`, `clock_timestamp()`); this is the one place
that may read the machine's.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime


def utc_now() -> datetime:
    """The wall clock, aware and in UTC: for log lines, never for a decision."""
    return datetime.now(UTC)  # noqa: TID251 - this is the place


def unix_seconds() -> int:
    """Whole seconds since 1970: for signatures, whose receivers compare with their own clock."""
    return int(time.time())  # noqa: TID251 - this is the place


def unix_ms() -> int:
    """Milliseconds since 1970: the sortable front of an id."""
    return time.time_ns() // 1_000_000


def monotonic() -> float:
    """Seconds that never jump: for deadlines and durations inside one process."""
    return time.monotonic()
