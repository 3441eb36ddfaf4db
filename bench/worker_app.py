"""The benchmark's worker: Tenure's app with a bare task beside it; both tell when they are done."""

from __future__ import annotations

import os
from typing import Any

import redis

from tasks import app
from tasks.signals import iteration_ended

__all__ = ["app"]

_live = redis.Redis.from_url(os.environ["TENURE_LIVE_URL"])


@app.task(name="bench.bare", ignore_result=True, soft_time_limit=5, time_limit=10)  # type: ignore[untyped-decorator]
def bare() -> None:
    """Tell that it ran."""
    _live.rpush("bench:done", 1)


def _accounted(**_: Any) -> None:
    # Fired after END is committed: its cost is in the latency.
    _live.rpush("bench:done", 1)


iteration_ended.connect(_accounted)
