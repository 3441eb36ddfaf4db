"""The job `notices`: sends what is planned, at most once.

A free sender claims one notice (`planned` to `sending`), calls, and writes what became of it. What was
certainly not taken goes back to `planned`; what was written without an answer is `unknown` and stays so, also
when the sender died in between; only kinds that must arrive are then sent again, by e-mail, with the same
Message-ID. Whether a notice is still true is asked once more when it is claimed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from tenure.events.append import append, subscription_event
from tenure.iterations.crew import Crew
from tenure.iterations.run import Run
from tenure.kit import crash
from tenure.kit.retry import Backoff, repeating
from tenure.notices.ports import Message, NotTried, Outcome, Refused, Sender, Sent, Unknown, Unsent
from tenure.notices.process_updates import process_updates
from tenure.notices.rules import MUST_ARRIVE, Standing, skip_reason
from tenure.notices.templates import Subject, written

_THREADS: Final = 4
_BACKOFF: Final = Backoff(first_s=15, cap_s=900)
_RESEND: Final = Backoff(first_s=60, cap_s=3600)
_MOST_RESENDS: Final = 5
# A notice that never grows stale is given up after this.
_KEEP_TRYING_H: Final = 72
# So many in a row on one channel: it is down, and the rest need not try now.
_GIVE_UP_AFTER: Final = 8
_LONGEST_ERROR: Final = 300

_DUE: Final = "state = 'planned' AND next_at <= clock_timestamp()"
_WAITING: Final = text(f"SELECT count(*) FROM (SELECT 1 FROM notice WHERE {_DUE} LIMIT :most) AS due")

# The sender's iteration is over: nobody will ever know.
_ORPHANS: Final = text("""
    UPDATE notice n
    SET state = 'unknown', last_error = 'the sender ended before the answer was written down',
        next_at = clock_timestamp() + :resend_s * interval '1 second'
    FROM iteration i WHERE n.state = 'sending' AND i.id = n.sent_by AND i.ended_at IS NOT NULL
    RETURNING n.id, n.subscription_id, n.kind, n.stage, n.channel, n.state
""")
_RESEND_DUE: Final = text("""
    UPDATE notice SET state = 'planned'
    WHERE state = 'unknown' AND next_at <= clock_timestamp() AND channel = 'email' AND kind = ANY(:kinds)
      AND attempts <= :most
""")
_CHANNEL_OFF: Final = text("""
    UPDATE notice SET state = 'skipped', skipped_reason = 'channel_off'
    WHERE id IN (SELECT id FROM notice WHERE state = 'planned' AND channel <> ALL(:channels)
                 LIMIT :most FOR NO KEY UPDATE SKIP LOCKED)
""")

_CLAIM: Final = text(f"""
    WITH due AS (
        SELECT id FROM notice WHERE {_DUE} AND channel = ANY(:channels)
        ORDER BY priority, next_at LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED
    )
    SELECT n.*, s.status, s.plan_snapshot, s.period_end, s.grace_until, s.cancel_at_period_end, s.is_trial,
           s.paid_periods, c.id AS customer_id, c.timezone, tenure_now() AS now,
           CASE s.end_moves WHEN 0 THEN s.period_no::text
                            ELSE s.period_no || '.' || s.end_moves END AS current_ref,
           CASE n.channel WHEN 'email' THEN c.email WHEN 'telegram' THEN c.telegram_chat_id
                          ELSE c.external_id END AS address,
           CASE n.channel WHEN 'email' THEN c.email_blocked_at IS NOT NULL
                          WHEN 'telegram' THEN c.telegram_blocked_at IS NOT NULL ELSE false END AS blocked,
           n.created_at < clock_timestamp() - :keep_trying_h * interval '1 hour' AS tried_long
    FROM due JOIN notice n ON n.id = due.id
    JOIN subscription s ON s.id = n.subscription_id
    JOIN customer c ON c.id = s.customer_id
""")
_SENDING: Final = text("""
    UPDATE notice SET state = 'sending', sent_by = :iteration_id, attempts = attempts + 1 WHERE id = :id
""")
_SKIP: Final = text("""
    UPDATE notice SET state = 'skipped', skipped_reason = :reason, sent_by = :iteration_id WHERE id = :id
""")
_SETTLE: Final = text("""
    UPDATE notice
    SET state = :state, last_error = :error, attempts = attempts - :not_tried,
        provider_message_id = :provider_message_id,
        sent_at = CASE WHEN :state = 'sent' THEN clock_timestamp() END,
        next_at = clock_timestamp() + :delay_s * interval '1 second'
    WHERE id = :id AND state = 'sending' AND sent_by = :iteration_id
    RETURNING id
""")
_BLOCK_TELEGRAM: Final = text("""
    UPDATE customer SET telegram_blocked_at = clock_timestamp()
    WHERE id = :id AND telegram_blocked_at IS NULL
""")


@dataclass(slots=True)
class _Health:
    """How often each channel failed in a row, over all threads."""

    channels: tuple[str, ...]
    failures: dict[str, int] = field(default_factory=dict)

    def open(self) -> list[str]:
        return [name for name in self.channels if self.failures.get(name, 0) < _GIVE_UP_AFTER]

    def note(self, channel: str, outcome: Outcome) -> None:
        if isinstance(outcome, NotTried) and outcome.reason == "pace":
            return  # one chat has had enough for now: the others may go on
        if isinstance(outcome, NotTried):
            self.failures[channel] = _GIVE_UP_AFTER  # it rests: the others need not ask in this pass
            return
        self.failures[channel] = self.failures.get(channel, 0) + 1 if isinstance(outcome, Unsent) else 0


@dataclass(frozen=True, slots=True)
class _Result:
    state: str
    error: str | None = None
    provider_message_id: str | None = None
    delay_s: float = 0.0
    not_tried: bool = False


def run(run: Run, senders: Mapping[str, Sender]) -> None:
    """Send what is due, or as much as there is time for; `senders` holds the channels that are configured."""
    process_updates(run)
    with run.transaction() as session:
        waiting = _prepare(session, run, tuple(senders))
    if not waiting:
        return
    crew = Crew(run)
    health = _Health(tuple(senders))
    try:
        crew.work([partial(_send_all, senders, health)] * min(_THREADS, waiting))
    finally:
        for sender in senders.values():
            sender.close()


def _prepare(session: Session, run: Run, channels: Sequence[str]) -> int:
    orphans = session.execute(_ORPHANS, {"resend_s": _RESEND.ceiling_s(1)}).all()
    append(session, [_event(row, "unknown", run.iteration_id) for row in orphans])
    session.execute(_RESEND_DUE, {"kinds": list(MUST_ARRIVE), "most": _MOST_RESENDS})
    off = session.execute(_CHANNEL_OFF, {"channels": list(channels), "most": 10 * run.batch})
    skipped: int = off.rowcount  # type: ignore[attr-defined]
    run.counters.failed += len(orphans)
    run.counters.seen += skipped + len(orphans)
    run.counters.skipped += skipped
    waiting: int = session.execute(_WAITING, {"most": run.batch}).scalar_one()
    return waiting


def _send_all(senders: Mapping[str, Sender], health: _Health, crew: Crew) -> None:
    while crew.goes_on and _send_one(crew, senders, health):
        continue


def _send_one(crew: Crew, senders: Mapping[str, Sender], health: _Health) -> bool:
    """Take one notice through its steps; whether there was one."""
    iteration_id = crew.run.iteration_id
    with crew.transaction() as session:
        row = session.execute(_CLAIM, {"channels": health.open(), "keep_trying_h": _KEEP_TRYING_H}).first()
        if row is None:
            return False
        reason = skip_reason(_standing(row))
        if reason is not None:
            session.execute(_SKIP, {"id": row.id, "reason": reason, "iteration_id": iteration_id})
        else:
            session.execute(_SENDING, {"id": row.id, "iteration_id": iteration_id})
    if reason is not None:
        crew.count(seen=1, skipped=1)
        return True
    crash.point("call.claimed")
    with repeating(row.attempts > 0):
        outcome = senders[row.channel].send(_message(row))
    crash.point("call.answered")
    health.note(row.channel, outcome)
    result = _judged(row, outcome)
    with crew.transaction() as session:
        _settle(session, row, outcome, result, iteration_id)
    crew.count(seen=1, done=int(result.state == "sent"), failed=int(result.state != "sent"))
    return True


def _standing(row: Row[Any]) -> Standing:
    return Standing(
        kind=row.kind,
        stage=row.stage,
        ref=row.ref,
        current_ref=row.current_ref,
        status=row.status,
        paid_periods=row.paid_periods,
        now=row.now,
        not_after=row.not_after,
        address=row.address,
        blocked=row.blocked,
    )


def _message(row: Row[Any]) -> Message:
    about = Subject(
        kind=row.kind,
        plan=row.plan_snapshot,
        timezone=row.timezone,
        period_end=row.period_end,
        grace_until=row.grace_until,
        is_trial=row.is_trial,
        cancel_at_period_end=row.cancel_at_period_end,
        data=row.data,
    )
    text_ = written(about)
    return Message(
        notice_id=row.id,
        kind=row.kind,
        stage=row.stage or None,
        to=row.address,
        subject=text_.subject,
        text=text_.body,
    )


def _judged(row: Row[Any], outcome: Outcome) -> _Result:
    attempt = row.attempts + 1
    match outcome:
        case Sent(provider_message_id=provider_message_id):
            return _Result("sent", provider_message_id=provider_message_id)
        case NotTried(reason=reason, after_s=after_s):
            return _Result("planned", error=reason, delay_s=after_s, not_tried=True)
        case Unsent(reason=reason, retry_after_s=wish):
            state = "failed" if row.not_after is None and row.tried_long else "planned"
            return _Result(state, error=reason, delay_s=_BACKOFF.delay_s(attempt, at_least_s=wish))
        case Refused(reason=reason):
            return _Result("failed", error=reason)
        case Unknown(reason=reason):
            return _Result("unknown", error=reason, delay_s=_RESEND.delay_s(attempt))


def _settle(session: Session, row: Row[Any], outcome: Outcome, result: _Result, iteration_id: str) -> None:
    settled = session.execute(
        _SETTLE,
        {
            "id": row.id,
            "state": result.state,
            "error": result.error[:_LONGEST_ERROR] if result.error else None,
            "provider_message_id": result.provider_message_id,
            "delay_s": result.delay_s,
            "not_tried": int(result.not_tried),
            "iteration_id": iteration_id,
        },
    ).first()
    if settled is not None and result.state != "planned":
        append(session, [_event(row, result.state, iteration_id)])
    if isinstance(outcome, Refused) and outcome.code == "blocked" and row.channel == "telegram":
        session.execute(_BLOCK_TELEGRAM, {"id": row.customer_id})


def _event(row: Row[Any], state: str, iteration_id: str) -> Any:
    return subscription_event(
        f"notice.{state}",
        row.subscription_id,
        {"notice_id": row.id, "kind": row.kind, "stage": row.stage, "channel": row.channel, "state": state},
        iteration_id=iteration_id,
    )
