"""The benchmark's worker: Tenure's app with a bare task beside it; both tell when they are done."""

from __future__ import annotations

import logging
import os
import time
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


@app.task(name="bench.unlogged", ignore_result=True, soft_time_limit=5, time_limit=10)  # type: ignore[untyped-decorator]
def unlogged() -> None:
    """Tell that it ran; Celery's two lines about it are left out, as they are for a run."""
    _live.rpush("bench:done", 1)


for _name in ("celery.worker.strategy", "celery.app.trace"):
    logging.getLogger(_name).addFilter(
        lambda record: getattr(record, "data", {}).get("name") != "bench.unlogged"
    )


@app.task(name="bench.punctual", ignore_result=True, soft_time_limit=5, time_limit=10)  # type: ignore[untyped-decorator]
def punctual(due: float) -> None:
    """Tell how many milliseconds after its due time it began."""
    _live.rpush("bench:late", (time.time() - due) * 1000)


def _accounted(**_: Any) -> None:
    # Fired after END is committed: its cost is in the latency.
    _live.rpush("bench:done", 1)


iteration_ended.connect(_accounted)
