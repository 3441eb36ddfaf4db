"""The log's echo of the ledger: printed once, by the writer, after its commit. The row is the proof."""

from __future__ import annotations

from tenure.iterations.ledger import Ended, Outcome, Started
from tenure.kit.logging import get_logger

_log = get_logger("tenure.iterations")


def started(start: Started) -> None:
    """Print ITERATION_START."""
    _log.info(
        "ITERATION_START",
        job=start.job,
        scope=start.scope,
        iteration_id=start.iteration_id,
        slot_id=start.slot_id,
        attempt=start.attempt,
        worker=start.worker,
        pid=start.pid,
    )


def skipped(start: Started) -> None:
    """Print why a slot did not start."""
    _log.info("slot.skipped", job=start.job, scope=start.scope, slot_id=start.slot_id, reason=start.reason)


def ended(end: Ended) -> None:
    """Print ITERATION_END, and WORKER_TIMEOUT for a run that met its limit."""
    fields = {
        "job": end.job,
        "scope": end.scope,
        "iteration_id": end.iteration_id,
        "slot_id": end.slot_id,
        "attempt": end.attempt,
        "worker": end.worker,
        "pid": end.pid,
    }
    if end.outcome == Outcome.TIMED_OUT:
        _log.warning("WORKER_TIMEOUT", **fields, error_type=end.error_type)
    say = _log.info if end.outcome == Outcome.OK else _log.warning
    say(
        "ITERATION_END",
        **fields,
        outcome=end.outcome,
        ended_by=end.ended_by,
        duration_ms=end.duration_ms,
        error_type=end.error_type,
        counters=end.counters,
    )
    if end.quarantined:
        _log.error("job.quarantined", job=end.job, scope=end.scope)
