"""Old history of machines, every few minutes."""

from __future__ import annotations

from tasks.iteration import iteration
from tenure.iterations.catalog import catalog
from tenure.iterations.run import Run
from tenure.retention import forget
from tenure.wiring import Deps


@iteration("retention")
def retention(run: Run, deps: Deps) -> None:
    """Delete what is only history for machines and old enough."""
    jobs = catalog(deps.settings).values()
    forget.run(run, internal_jobs=[job.name for job in jobs if job.internal])
