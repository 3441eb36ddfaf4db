"""The job `expiry`: ends periods, trials and grace whose moment has come.

Rows are claimed under lock, a thousand at a time; the rules say what time has made of each; the new states,
events, generations and notices are committed together. A subscription takes one step at a time, so one that
was due for long goes through `past_due` in the same run. What a hold or a missing sight keeps back is left
as it is, with access on, and counted as skipped.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import TextClause, text
from sqlalchemy.orm import Session

from tenure.events.append import NewEvent, append, subscription_event
from tenure.iterations.run import Run
from tenure.subscriptions import rules
from tenure.subscriptions.access import Priority, refresh
from tenure.subscriptions.announce import Announcement, Kind, announce_all
from tenure.subscriptions.row import COLUMNS, Locked, claim, facts, period_ref, save
from tenure.subscriptions.rules import State, Status
from tenure.subscriptions.sight import MAY_END, Patience, alert_when_blind, note_running

# Grace or a paid period may always begin; only what ends access needs leave.
_PERIOD_OVER: Final = text(f"""
    SELECT {COLUMNS} FROM subscription s JOIN customer c ON c.id = s.customer_id
    WHERE s.status IN ('trialing', 'active') AND s.period_end <= tenure_now()
      AND ((s.grace_hours > 0 AND NOT s.cancel_at_period_end) OR s.paid_periods > 0 OR {MAY_END})
    ORDER BY s.period_end LIMIT :batch FOR NO KEY UPDATE OF s SKIP LOCKED
""")
_GRACE_OVER: Final = text(f"""
    SELECT {COLUMNS} FROM subscription s JOIN customer c ON c.id = s.customer_id
    WHERE s.status = 'past_due' AND s.access_until <= tenure_now() AND {MAY_END}
    ORDER BY s.access_until LIMIT :batch FOR NO KEY UPDATE OF s SKIP LOCKED
""")
_KEPT_BACK: Final = text(f"""
    SELECT count(*) FROM subscription s
    WHERE s.status IN ('trialing', 'active', 'past_due') AND s.access_until <= tenure_now() AND NOT {MAY_END}
""")

_EVENTS: Final = {
    Status.ACTIVE: "subscription.activated",
    Status.PAST_DUE: "subscription.past_due",
    Status.EXPIRED: "subscription.expired",
    Status.CANCELED: "subscription.canceled",
}


def run(run: Run, patience: Patience | None = None) -> None:
    """Carry out everything that is due, or as much as there is time for."""
    patience = patience or Patience()
    with run.transaction() as session:
        note_running(session)
    for statement in (_PERIOD_OVER, _GRACE_OVER):
        while run.has_time and _batch(run, statement, patience) == run.batch:
            continue
    with run.transaction() as session:
        kept_back = session.execute(_KEPT_BACK, {"reopen_hold_s": patience.reopen_hold_s}).scalar_one()
        alert_when_blind(session, patience)
    run.counters.seen += kept_back
    run.counters.skipped += kept_back


def _batch(run: Run, statement: TextClause, patience: Patience) -> int:
    with run.transaction() as session:
        rows = claim(session, statement, {"batch": run.batch, "reopen_hold_s": patience.reopen_hold_s})
        changes = [
            (row, state)
            for row in rows
            if (state := rules.when_due(row.state, row.terms, row.now, may_end=True)) is not None
        ]
        _carry_out(session, changes, run.iteration_id)
    # Counted after the commit: what was rolled back was not done.
    run.counters.seen += len(rows)
    run.counters.done += len(changes)
    return len(changes)


def _carry_out(session: Session, changes: list[tuple[Locked, State]], iteration_id: str) -> None:
    save(session, [(row.id, state) for row, state in changes])
    append(session, [_event(row, state, iteration_id) for row, state in changes])
    refresh(session, [row.id for row, _ in changes], priority=Priority.BULK, iteration_id=iteration_id)
    announce_all(
        session,
        [
            Announcement(row.id, Kind.EXPIRED, period_ref(state))
            for row, state in changes
            if state.status is Status.EXPIRED
        ],
        iteration_id=iteration_id,
    )


def _event(row: Locked, state: State, iteration_id: str) -> NewEvent:
    return subscription_event(
        _EVENTS[state.status],
        row.id,
        {**facts(state), "customer_id": row.customer_id, "from": str(row.state.status)},
        iteration_id=iteration_id,
    )
