"""Slots: due times of jobs. They are made once, published until somebody starts them, or skipped.

The row is the fact and the message only a doorbell: publishing is repeated with back-off, and a slot that
nobody started in time is skipped with its reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from tenure.errors import Conflict
from tenure.iterations.catalog import Job
from tenure.kit.db import StatementDoor
from tenure.kit.ids import new_id

# Anybody who waits for slots to publish listens here.
NOTIFY_CHANNEL: Final = "tenure_slots"


@dataclass(frozen=True, slots=True)
class Requested:
    """A run that was asked for; `duplicate` says that the same key had asked before."""

    slot_id: str
    due_at: datetime
    duplicate: bool


_REQUEST: Final = text("""
    INSERT INTO slot (id, job, scope, due_at, origin, expires_at, user_id, run_key)
    SELECT :id, :job, :scope, due, 'run', due + make_interval(secs => :expires_s), :user_id, :run_key
    FROM (SELECT clock_timestamp() + make_interval(secs => :nudge_s) AS due) AS moment
    ON CONFLICT DO NOTHING
    RETURNING id, due_at
""")
_ONE_MICROSECOND: Final = 1e-6
_DUE_TIME_TRIES: Final = 20


def request_run(
    session: Session, job: Job, *, scope: str = "", user_id: str | None = None, run_key: str | None = None
) -> Requested:
    """Write the slot of a run asked for by a person, once per (user, key).

    The same key again returns the same slot; for another job or scope it is a Conflict
    (`idempotency_mismatch`). Call `notify()` in the same transaction to wake a publisher.
    """
    for attempt in range(_DUE_TIME_TRIES):
        row = session.execute(
            _REQUEST,
            {
                "id": new_id("slt"),
                "job": job.name,
                "scope": scope,
                "expires_s": job.expires_s,
                "user_id": user_id,
                "run_key": run_key,
                # Two runs in the same microsecond are two due times: the later one gives way.
                "nudge_s": attempt * _ONE_MICROSECOND,
            },
        ).first()
        if row is not None:
            return Requested(row.id, row.due_at, duplicate=False)
        earlier = _by_key(session, user_id, run_key)
        if earlier is not None:
            if (earlier.job, earlier.scope) != (job.name, scope):
                raise Conflict("this key was used for another run", code="idempotency_mismatch")
            return Requested(earlier.id, earlier.due_at, duplicate=True)
    raise Conflict("too many runs of this job at the same instant")


def _by_key(session: Session, user_id: str | None, run_key: str | None) -> Any:
    if run_key is None:
        return None
    return session.execute(
        text("SELECT id, job, scope, due_at FROM slot WHERE user_id = :user_id AND run_key = :run_key"),
        {"user_id": user_id, "run_key": run_key},
    ).first()


def notify(session: Session) -> None:
    """Wake the publishers when this transaction commits."""
    session.execute(text("SELECT pg_notify(:channel, '')"), {"channel": NOTIFY_CHANNEL})


@dataclass(frozen=True, slots=True)
class ToPublish:
    """A slot that this process has claimed for publishing."""

    id: str
    job: str
    scope: str
    attempt: int
    expires_in_s: float


# 10, 20, 40 ... 300 s: a worker that is only slow gets no pile of duplicates.
_CLAIM: Final = """
UPDATE slot SET publish_tries = publish_tries + 1,
    publish_after = clock_timestamp() + make_interval(secs => least(300, 10 * 2 ^ least(publish_tries, 5)))
WHERE id IN (
    SELECT id FROM slot
    WHERE state = 'pending' AND publish_after <= clock_timestamp() AND expires_at > clock_timestamp()
      AND (%(slot)s::text IS NULL OR id = %(slot)s)
    ORDER BY publish_after LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
)
RETURNING id, job, scope, attempt, extract(epoch FROM expires_at - clock_timestamp())::float8 AS expires_in_s
"""


def claim_to_publish(door: StatementDoor, *, slot_id: str | None = None, limit: int = 100) -> list[ToPublish]:
    """Take pending slots whose (re-)publishing is due; nobody else takes them before the back-off ends."""
    return [ToPublish(**row) for row in door.run(_CLAIM, {"slot": slot_id, "limit": limit})]


def published(door: StatementDoor, slot_id: str) -> None:
    """Record that the broker took the message."""
    door.run("UPDATE slot SET published_at = clock_timestamp() WHERE id = %s", [slot_id])


def not_published(door: StatementDoor, slot_id: str, *, retry_s: float = 1.0) -> None:
    """Record that the broker did not take it: somebody tries again soon."""
    door.run(
        "UPDATE slot SET publish_after = clock_timestamp() + make_interval(secs => %s), "
        "publish_tries = greatest(publish_tries - 1, 0) WHERE id = %s AND state = 'pending'",
        [retry_s, slot_id],
    )


_SKIP_STALE: Final = """
WITH u AS (
    UPDATE slot SET state = 'skipped', decided_at = clock_timestamp(),
                    reason = CASE WHEN published_at IS NULL THEN 'undelivered' ELSE 'expired' END
    WHERE id IN (
        SELECT id FROM slot WHERE state = 'pending' AND expires_at < clock_timestamp()
        ORDER BY expires_at LIMIT 500 FOR UPDATE SKIP LOCKED
    )
    RETURNING id, job, scope, due_at, count, reason
), told AS (
    INSERT INTO event (id, type, subject, channels, data)
    SELECT tenure_id('evt'), 'slot.skipped', 'slot:' || id, ARRAY['iterations', 'slot:' || id],
           jsonb_build_object('slot_id', id, 'job', job, 'scope', scope, 'due_at', due_at, 'count', count,
                              'reason', reason)
    FROM u
)
SELECT id, job, scope, reason, count FROM u
"""


def skip_stale(door: StatementDoor) -> list[dict[str, Any]]:
    """Skip pending slots past their time: `expired` if a message was out, else `undelivered`."""
    return door.run(_SKIP_STALE)
