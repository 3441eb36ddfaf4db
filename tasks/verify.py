"""The task that checks the invariants."""

from __future__ import annotations

from tasks.iteration import iteration
from tenure.iterations.run import Run
from tenure.verify import run as core
from tenure.wiring import Deps


@iteration("verify")
def verify(run: Run, deps: Deps) -> None:  # noqa: ARG001 - the form of every body
    """Open and resolve an alert for each invariant."""
    core.run(run)
