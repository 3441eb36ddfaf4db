"""Alerts from the record, every few seconds."""

from __future__ import annotations

from tasks.iteration import iteration
from tenure.integrations.alerting import alert_open_breakers
from tenure.iterations import alerting as core
from tenure.iterations.run import Run
from tenure.wiring import Deps


@iteration("alerting")
def alerting(run: Run, deps: Deps) -> None:
    """Open and resolve alerts."""
    core.run(run)
    if deps.guards is not None:
        alert_open_breakers(run.transaction, deps.settings, deps.guards.breakers)
