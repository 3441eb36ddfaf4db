"""Alerts from the ledger: jobs that keep failing, jobs in quarantine, due work that waits too long."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from tenure.alerts.raise_alert import Severity, raise_alert, resolve_alert
from tenure.iterations import tally
from tenure.iterations.run import Run

_FAILURES: Final = 3
_WAIT_S: Final = 60.0

# The last few ends of each job: it is failing when none of them was ok.
_LAST_ENDS: Final = text("""
    SELECT job, array_agg(outcome) AS outcomes, min(error_type) AS error_type
    FROM (SELECT DISTINCT job FROM slot WHERE id > :recent) AS active
    CROSS JOIN LATERAL (
        SELECT outcome, error_type FROM iteration i
        WHERE i.job = active.job AND ended_at IS NOT NULL ORDER BY id DESC LIMIT :failures
    ) AS last
    GROUP BY job
""")
# Ids begin with their time.
_AN_HOUR_AGO: Final = text(
    "SELECT 'slt_' || lpad(to_hex(((extract(epoch FROM clock_timestamp()) - 3600) * 1000)::bigint), 12, '0')"
)
_OPEN: Final = text("SELECT subject FROM alert WHERE rule = :rule AND resolved_at IS NULL")
_WAITING: Final = text("""
    SELECT job, extract(epoch FROM clock_timestamp() - min(due_at))::float8 AS wait_s
    FROM slot WHERE state = 'pending' GROUP BY job
    HAVING min(due_at) < clock_timestamp() - make_interval(secs => :wait_s)
""")


def run(run: Run) -> None:
    """Open what stands in the record now, resolve what does not any more; keep the tally up for metrics."""
    with run.transaction() as session:
        failing = dict(_failing(session))
        _bring(session, run, "job_failing", failing, "critical")
        quarantined = {
            f"{row.job}:{row.scope}" if row.scope else row.job: row.reason
            for row in session.execute(text("SELECT job, scope, reason FROM quarantine"))
        }
        _bring(session, run, "job_quarantined", quarantined, "critical")
        waiting = {
            row.job: f"due work has waited {row.wait_s:.0f} s for its START"
            for row in session.execute(_WAITING, {"wait_s": _WAIT_S})
        }
        _bring(session, run, "work_waiting", waiting, "warning")
    while run.has_time:
        with run.transaction() as session:
            if tally.fold(session) <= tally.BATCH:
                return


def _failing(session: Session) -> Iterable[tuple[str, str]]:
    recent = session.execute(_AN_HOUR_AGO).scalar_one()
    for row in session.execute(_LAST_ENDS, {"recent": recent, "failures": _FAILURES}):
        if len(row.outcomes) == _FAILURES and "ok" not in row.outcomes:
            yield (
                row.job,
                f"the last {_FAILURES} iterations ended {', '.join(row.outcomes)} ({row.error_type})",
            )


def _bring(session: Session, run: Run, rule: str, wanted: dict[str, str], severity: Severity) -> None:
    run.counters.seen += len(wanted)
    for subject, message in wanted.items():
        raise_alert(session, rule=rule, subject=subject, message=message, severity=severity)
        run.counters.done += 1
    for (subject,) in session.execute(_OPEN, {"rule": rule}).all():
        if subject not in wanted:
            resolve_alert(session, rule=rule, subject=subject)
