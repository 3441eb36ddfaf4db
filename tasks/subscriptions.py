"""Tasks of subscriptions."""

from __future__ import annotations

from tasks.iteration import iteration
from tenure.iterations.run import Run
from tenure.subscriptions import expire_due
from tenure.wiring import Deps


@iteration("expiry")
def expiry(run: Run, deps: Deps) -> None:
    """End periods, trials and grace whose moment has come."""
    expire_due.run(run, deps.patience)
