"""The jobs `reminders` and `trial_notifications`: plan what the stages of a plan say about an end that nears.

Due work is found by state: every change of a subscription sets `remind_at` to now, and planning sets it to
its next stage, or to null when none is left. A stage is due from its moment until the next stage's (or the
end it speaks of); what was missed for longer is written down as `skipped(stale)` and never sent late.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import text

from tenure.iterations.run import Run

# A stage before the end speaks of a period that runs; one at or after it of a payment that is missing. Both
# speak only in those states. The grace's stages are looked at when `past_due` begins, which sets remind_at.
_PLAN: Final = """
    WITH claimed AS (
        SELECT s.id, s.status, s.is_trial, s.period_end, s.grace_until, s.paid_periods,
               s.plan_snapshot->'reminders' AS reminders, s.customer_id,
               CASE s.end_moves WHEN 0 THEN s.period_no::text
                                ELSE s.period_no || '.' || s.end_moves END AS ref
        FROM subscription s
        WHERE s.remind_at IS NOT NULL AND {which} AND s.remind_at <= tenure_now()
        ORDER BY s.remind_at LIMIT :batch FOR NO KEY UPDATE SKIP LOCKED
    ), stage AS (
        SELECT c.*, r.stage, r.offset_hours, r.channels,
               c.period_end + r.offset_hours * interval '1 hour' AS at,
               least(min(c.period_end + r.offset_hours * interval '1 hour')
                         OVER (PARTITION BY c.id ORDER BY r.offset_hours
                               GROUPS BETWEEN 1 FOLLOWING AND 1 FOLLOWING),
                     CASE WHEN r.offset_hours < 0 THEN c.period_end ELSE c.grace_until END) AS not_after,
               CASE WHEN r.offset_hours < 0 THEN c.status IN ('trialing', 'active')
                    ELSE c.status = 'past_due' END AS speaks,
               c.status IN ('trialing', 'active') AND r.offset_hours >= 0 AS waits
        FROM claimed c
        CROSS JOIN LATERAL jsonb_to_recordset(c.reminders)
                           AS r(stage text, offset_hours integer, channels jsonb)
    ), planned AS (
        INSERT INTO notice (id, subscription_id, kind, stage, ref, channel, state, skipped_reason, data,
                            planned_at, not_after, planned_by)
        SELECT tenure_id('ntc'), g.id,
               CASE WHEN g.offset_hours >= 0 THEN 'past_due' WHEN g.is_trial THEN 'trial_ending'
                    ELSE 'period_ending' END,
               g.stage, g.ref, channel.name,
               CASE WHEN d.reason IS NULL THEN 'planned' ELSE 'skipped' END, d.reason,
               jsonb_build_object('period_end', tenure_rfc3339(g.period_end),
                                  'grace_until', tenure_rfc3339(g.grace_until)),
               g.at, g.not_after, :iteration_id
        FROM stage g
        JOIN customer c ON c.id = g.customer_id
        CROSS JOIN LATERAL jsonb_array_elements_text(g.channels) AS channel(name)
        CROSS JOIN LATERAL (SELECT CASE WHEN tenure_now() >= g.not_after THEN 'stale'
                                        WHEN NOT g.speaks THEN 'ended'
                                        WHEN g.paid_periods > 0 THEN 'renewed' END AS reason) AS d
        WHERE g.at <= tenure_now() AND NOT g.waits
          AND CASE channel.name WHEN 'email' THEN c.email IS NOT NULL
                                WHEN 'telegram' THEN c.telegram_chat_id IS NOT NULL ELSE true END
        ON CONFLICT ON CONSTRAINT uq_notice_once DO NOTHING
        RETURNING state
    ), next AS (
        SELECT id, min(at) FILTER (WHERE at > tenure_now() AND speaks) AS at FROM stage GROUP BY id
    ), looked AS (
        UPDATE subscription s SET remind_at = n.at
        FROM claimed c LEFT JOIN next n ON n.id = c.id WHERE s.id = c.id
        RETURNING s.id
    )
    SELECT (SELECT count(*) FROM looked) AS looked,
           (SELECT count(*) FROM planned WHERE state = 'planned') AS planned,
           (SELECT count(*) FROM planned WHERE state = 'skipped') AS skipped
"""
_OF_PERIODS: Final = text(_PLAN.format(which="NOT s.is_trial"))
_OF_TRIALS: Final = text(_PLAN.format(which="s.is_trial"))


def run_periods(run: Run) -> None:
    """Plan the stages of paid periods that are due."""
    _plan(run, trials=False)


def run_trials(run: Run) -> None:
    """Plan the stages of trials that are due."""
    _plan(run, trials=True)


def _plan(run: Run, *, trials: bool) -> None:
    statement = _OF_TRIALS if trials else _OF_PERIODS
    while run.has_time:
        with run.transaction() as session:
            row = session.execute(statement, {"batch": run.batch, "iteration_id": run.iteration_id}).one()
        run.counters.seen += row.looked
        run.counters.done += row.planned
        run.counters.skipped += row.skipped
        if row.looked < run.batch:
            return
