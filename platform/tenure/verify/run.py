"""Check every invariant, one by one; and the job that alerts when one is broken."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from sqlalchemy import text

from tenure.alerts.raise_alert import raise_alert, resolve_alert
from tenure.iterations.run import Run
from tenure.kit.db import Database
from tenure.kit.logging import get_logger
from tenure.verify import (
    access_follows_subscription,
    access_generations,
    access_not_ended_early,
    acts_audited,
    balances,
    channels_dense,
    connections_left,
    deliveries_follow_outbox,
    end_in_time,
    end_not_late,
    end_whole,
    ends_in_time,
    events_dense,
    events_drained,
    events_kept,
    holds_counted,
    holds_released,
    inbox_processed,
    invoice_accounts,
    iteration_told_once,
    leases_end,
    no_overlap,
    notice_decided,
    notice_sent_once,
    payable_guard,
    payment_credited_once,
    payment_of_one_invoice,
    period_credited_once,
    sessions_free,
    slot_decided,
    slot_started_once,
)
from tenure.verify.invariant import Invariant, Verdict

_log = get_logger(__name__)

INVARIANTS: Final[tuple[Invariant, ...]] = (
    payment_credited_once.INVARIANT,
    payment_of_one_invoice.INVARIANT,
    invoice_accounts.INVARIANT,
    balances.INVARIANT,
    period_credited_once.INVARIANT,
    notice_sent_once.INVARIANT,
    notice_decided.INVARIANT,
    access_not_ended_early.INVARIANT,
    holds_counted.INVARIANT,
    holds_released.INVARIANT,
    payable_guard.INVARIANT,
    access_follows_subscription.INVARIANT,
    access_generations.INVARIANT,
    ends_in_time.INVARIANT,
    slot_started_once.INVARIANT,
    end_whole.INVARIANT,
    end_in_time.INVARIANT,
    iteration_told_once.INVARIANT,
    end_not_late.INVARIANT,
    no_overlap.INVARIANT,
    slot_decided.INVARIANT,
    events_dense.INVARIANT,
    channels_dense.INVARIANT,
    events_kept.INVARIANT,
    events_drained.INVARIANT,
    deliveries_follow_outbox.INVARIANT,
    inbox_processed.INVARIANT,
    sessions_free.INVARIANT,
    leases_end.INVARIANT,
    connections_left.INVARIANT,
    acts_audited.INVARIANT,
)
_RULE: Final = "invariant_violated"
# An operator has patience; the job leaves room below its soft limit.
_PATIENCE_S: Final = 300
_JOB_PATIENCE_S: Final = 20


def verify(db: Database, *, statement_timeout_s: float = _PATIENCE_S) -> Iterator[Verdict]:
    """The verdict on each invariant in turn, each from a read-only transaction of its own.

    Raises Unavailable when PostgreSQL cannot answer within the time.
    """
    for invariant in INVARIANTS:
        yield check(db, invariant, statement_timeout_s=statement_timeout_s)


def check(db: Database, invariant: Invariant, *, statement_timeout_s: float) -> Verdict:
    """The verdict on one invariant; nothing is locked or changed."""
    with db.transaction() as session:
        # A snapshot for each: an old one, compared with the clock, would make what is in time look late.
        session.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
        session.execute(text(f"SET LOCAL statement_timeout = {int(statement_timeout_s * 1000)}"))
        # Compiling costs more than it saves: every statement is new.
        session.execute(text("SET LOCAL jit = off"))
        return invariant.check(session)


def run(run: Run) -> None:
    """Check all, or as many as there is time for; an alert is open for each that is broken.

    What could not be checked is counted as skipped, and its alert stays as it is.
    """
    for invariant in INVARIANTS:
        if not run.has_time:
            run.counters.skipped += 1
            continue
        # Not through the run's own transaction: a reader needs no fence, and would keep its END waiting.
        verdict = check(run.db, invariant, statement_timeout_s=_JOB_PATIENCE_S)
        _tell(run, verdict)
        run.counters.seen += 1
        run.counters.done += 1
        run.counters.failed += verdict.violated > 0


def _tell(run: Run, verdict: Verdict) -> None:
    with run.transaction() as session:
        if not verdict.violated:
            resolve_alert(session, rule=_RULE, subject=verdict.id)
            return
        _log.error("invariant.violated", invariant=verdict.id, violated=verdict.violated)
        raise_alert(
            session,
            rule=_RULE,
            subject=verdict.id,
            severity="critical",
            message=f"does not hold: {verdict.title} ({verdict.violated} of {verdict.checked})",
            data={"violated": verdict.violated, "samples": list(verdict.samples)},
        )
