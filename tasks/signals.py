"""Celery's signals and our own two.

`iteration_started` and `iteration_ended` fire once each, by the ledger's winner, and rows prove what they
say. Celery's own signals only start and stop the process's parts and bind the log context: a receiver
cannot veto a run, and some kills fire none.
"""

from __future__ import annotations

import logging
from typing import Any, Final

import structlog
from celery.signals import (
    beat_init,
    setup_logging,
    task_postrun,
    task_prerun,
    worker_init,
    worker_process_init,
    worker_process_shutdown,
    worker_shutdown,
    worker_shutting_down,
)
from celery.utils.dispatch import Signal

from tasks import process
from tasks.app import app
from tasks.enqueue import TASK_PREFIX
from tasks.liveness import Liveness
from tenure.errors import BadSettings, Unavailable
from tenure.kit.logging import configure_logging, get_logger

_log = get_logger("tenure.worker")

# sender: the job's name; `start`: tenure.iterations.ledger.Started
iteration_started: Final = Signal(name="iteration_started", providing_args=["start"])
# sender: the job's name; `end`: tenure.iterations.ledger.Ended
iteration_ended: Final = Signal(name="iteration_ended", providing_args=["end"])


def _log_as_json(loglevel: int | str | None = None, **_: Any) -> None:
    configure_logging(role="celery", level=str(loglevel) if isinstance(loglevel, str) else "INFO")
    for name in ("celery.worker.strategy", "celery.app.trace"):
        logging.getLogger(name).addFilter(_is_news)


def _is_news(record: logging.LogRecord) -> bool:
    # "received" and "succeeded" say again what ITERATION_START and ITERATION_END say: for every run they cost
    # as much again (`bench iterations` has the bare task with and without them).
    of_task: dict[str, Any] = getattr(record, "data", {})
    return record.levelno > logging.INFO or not str(of_task.get("name")).startswith(TASK_PREFIX)


def _worker_starts(sender: Any = None, **_: Any) -> None:
    _log_as_json()  # Celery sets the logs up later; what is said until then shall be readable too
    pool = getattr(sender.pool_cls, "__module__", str(sender.pool_cls))
    if "prefork" not in pool:
        # Threads and solo ignore time limits in silence; gevent has no soft ones.
        _log.error("worker.refused", reason=f"only the prefork pool has time limits, not {pool}")
        raise SystemExit(2)
    _start("worker", sender.hostname)


def _beat_starts(sender: Any = None, **_: Any) -> None:  # noqa: ARG001 - Celery's signature
    _start("beat", "beat")


def _start(role: str, name: str) -> None:
    try:
        process.start_parent(role, name)
    except (Unavailable, BadSettings) as error:
        _log.error(f"{role}.refused", reason=error.message)
        raise SystemExit(error.exit_code) from None


def _child_starts(**_: Any) -> None:
    process.child()


def _child_stops(**_: Any) -> None:
    process.child_stops()


def _worker_drains(**_: Any) -> None:
    # From here on the loop stands still while running iterations end; a supervisor bounds that.
    process.parent().watchdog.stop()


def _worker_stops(**_: Any) -> None:
    process.parent().stop()


def _bind_context(task_id: str = "", **_: Any) -> None:
    structlog.contextvars.bind_contextvars(task_id=task_id)


def _clear_context(task: Any = None, **_: Any) -> None:
    second_try = getattr(task, "end_again", None)
    if second_try is not None:
        second_try()
    structlog.contextvars.clear_contextvars()


app.steps["consumer"].add(Liveness)
setup_logging.connect(_log_as_json)
worker_init.connect(_worker_starts)
beat_init.connect(_beat_starts)
worker_process_init.connect(_child_starts)
worker_process_shutdown.connect(_child_stops)
worker_shutting_down.connect(_worker_drains)
worker_shutdown.connect(_worker_stops)
task_prerun.connect(_bind_context)
task_postrun.connect(_clear_context)
