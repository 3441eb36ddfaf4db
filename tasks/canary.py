"""The canary: a row that travelled from beat through the broker to a worker and its database."""

from __future__ import annotations

from sqlalchemy import text

from tasks.iteration import iteration
from tenure.iterations.run import Run
from tenure.wiring import Deps


@iteration("canary")
def canary(run: Run, deps: Deps) -> None:  # noqa: ARG001 - the form of every body
    """Show that work flows: write under the fence, and count how many nodes are alive."""
    with run.transaction() as session:
        alive = session.execute(
            text("SELECT count(*) FROM node WHERE stopped_at IS NULL AND lease_until > clock_timestamp()")
        ).scalar_one()
    run.counters.seen = int(alive)
    run.counters.done = 1
