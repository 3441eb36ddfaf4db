"""Alerts from the record, every few seconds."""

from __future__ import annotations

from tasks.iteration import iteration
from tenure.iterations import alerting as core
from tenure.iterations.run import Run
from tenure.wiring import Deps


@iteration("alerting")
def alerting(run: Run, deps: Deps) -> None:  # noqa: ARG001 - the form of every body
    """Open and resolve alerts."""
    core.run(run)
