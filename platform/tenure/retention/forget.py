"""Delete what the rules let go, a batch per fenced transaction. The body of the job `retention`."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import CursorResult, text

from tenure.iterations.run import Run
from tenure.retention.forget_slots import forget_slots
from tenure.retention.rules import RULES, Rule


def run(run: Run, *, internal_jobs: Collection[str]) -> None:
    """Everything spent is gone, or as much as there was time for: the next iteration goes on from there."""
    for rule in RULES:
        _apply(run, rule)
    forget_slots(run, internal_jobs=internal_jobs)


def _apply(run: Run, rule: Rule) -> None:
    statement = text(rule.delete)
    while run.has_time:
        with run.transaction() as session:
            deleted = session.execute(statement, {"batch": run.batch})
            assert isinstance(deleted, CursorResult)  # noqa: S101 - tells the type checker what a DELETE gives
            gone = deleted.rowcount
        run.counters.seen += gone
        run.counters.done += gone
        if gone < run.batch:
            return
