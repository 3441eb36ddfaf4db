"""What is asked of the ledger: iterations, slots, jobs and schedules in the shape of the API."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from tenure.errors import NotFound
from tenure.iterations.catalog import Job
from tenure.iterations.schedules import rhythm_of
from tenure.kit.times import rfc3339

_ITERATION: Final = """
    SELECT i.*, (extract(epoch FROM ended_at - started_at) * 1000)::bigint AS duration_ms FROM iteration i
"""
_SLOT: Final = """
    SELECT s.*, ARRAY(SELECT i.id FROM iteration i WHERE i.slot_id = s.id ORDER BY i.id) AS iteration_ids,
           coalesce((SELECT email FROM app_user WHERE id = s.user_id),
                    (SELECT name FROM api_key WHERE id = s.user_id)) AS asked_by
    FROM slot s
"""


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list; `next_cursor` is None on the last one."""

    items: list[dict[str, Any]]
    next_cursor: str | None

    def as_dict(self) -> dict[str, Any]:
        return {"items": self.items, "next_cursor": self.next_cursor}


def _iteration(row: Any) -> dict[str, Any]:
    return {
        "id": row.id,
        "job": row.job,
        "scope": row.scope,
        "slot_id": row.slot_id,
        "due_at": rfc3339(row.due_at),
        "attempt": row.attempt,
        "worker": row.worker,
        "pid": row.pid,
        "started_at": rfc3339(row.started_at),
        "ended_at": rfc3339(row.ended_at),
        "duration_ms": row.duration_ms,
        "outcome": row.outcome,
        "ended_by": row.ended_by,
        "error_type": row.error_type,
        "error_message": row.error_message,
        "counters": row.counters,
    }


def _slot(row: Any) -> dict[str, Any]:
    return {
        "id": row.id,
        "job": row.job,
        "scope": row.scope,
        "due_at": rfc3339(row.due_at),
        "origin": row.origin,
        "state": row.state,
        "reason": row.reason,
        "count": row.count,
        "attempt": row.attempt,
        "created_at": rfc3339(row.created_at),
        "expires_at": rfc3339(row.expires_at),
        "published_at": rfc3339(row.published_at),
        "publish_tries": row.publish_tries,
        "decided_at": rfc3339(row.decided_at),
        "asked_by": row.asked_by,
        "iteration_ids": list(row.iteration_ids),
    }


def iteration(session: Session, iteration_id: str) -> dict[str, Any]:
    """One iteration. Raises NotFound."""
    row = session.execute(text(f"{_ITERATION} WHERE i.id = :id"), {"id": iteration_id}).first()
    if row is None:
        raise NotFound(f"there is no iteration {iteration_id!r}")
    return _iteration(row)


def slot(session: Session, slot_id: str) -> dict[str, Any]:
    """One slot with its iterations. Raises NotFound."""
    row = session.execute(text(f"{_SLOT} WHERE s.id = :id"), {"id": slot_id}).first()
    if row is None:
        raise NotFound(f"there is no slot {slot_id!r}")
    return _slot(row)


def iterations(
    session: Session,
    *,
    job: str | None = None,
    scope: str | None = None,
    outcome: str | None = None,
    slot_id: str | None = None,
    is_open: bool | None = None,
    since: datetime | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Page:
    """Iterations, newest first."""
    conditions = {
        "i.job = :job": job,
        "i.scope = :scope": scope,
        "i.outcome = :outcome": outcome,
        "i.slot_id = :slot_id": slot_id,
        "(i.ended_at IS NULL) = :is_open": is_open,
        "i.started_at >= :since": since,
        "i.id < :cursor": cursor,
    }
    values = {"job": job, "scope": scope, "outcome": outcome, "slot_id": slot_id, "is_open": is_open,
              "since": since, "cursor": cursor}  # fmt: skip
    rows = _page(session, _ITERATION, "i.id", conditions, values, limit)
    return _paged([_iteration(row) for row in rows], limit)


def slots(
    session: Session,
    *,
    job: str | None = None,
    scope: str | None = None,
    state: str | None = None,
    reason: str | None = None,
    since: datetime | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Page:
    """Slots, newest first."""
    conditions = {
        "s.job = :job": job,
        "s.scope = :scope": scope,
        "s.state = :state": state,
        "s.reason = :reason": reason,
        "s.due_at >= :since": since,
        "s.id < :cursor": cursor,
    }
    values = {"job": job, "scope": scope, "state": state, "reason": reason, "since": since, "cursor": cursor}
    rows = _page(session, _SLOT, "s.id", conditions, values, limit)
    return _paged([_slot(row) for row in rows], limit)


def _page(
    session: Session,
    select: str,
    key: str,
    conditions: Mapping[str, Any],
    values: Mapping[str, Any],
    limit: int,
) -> list[Any]:
    used = [condition for condition, value in conditions.items() if value is not None]
    where = f"WHERE {' AND '.join(used)}" if used else ""
    # One row more than asked for tells whether there is a next page.
    statement = text(f"{select} {where} ORDER BY {key} DESC LIMIT :limit")
    return list(session.execute(statement, {**values, "limit": limit + 1}))


def _paged(items: list[dict[str, Any]], limit: int) -> Page:
    more = len(items) > limit
    items = items[:limit]
    return Page(items, items[-1]["id"] if more else None)


# The pairs make PostgreSQL walk the index (job, id). By `job = name ORDER BY id` it walks the primary key
# backwards in the hope of a row soon: all of it, for a job that never ran.
_LAST: Final = text("""
    SELECT last.*, (extract(epoch FROM ended_at - started_at) * 1000)::bigint AS duration_ms,
           (extract(epoch FROM started_at - due_at) * 1000)::bigint AS waited_ms
    FROM unnest(CAST(:jobs AS text[])) AS name CROSS JOIN LATERAL (
        SELECT job, id, outcome, error_type, due_at, started_at, ended_at FROM iteration
        WHERE (job, id) >= (name, '') AND (job, id) < (name, 'itr_g')
        ORDER BY job DESC, id DESC LIMIT 1
    ) AS last
""")

# A slot that was tried again shows its last attempt.
_RECENT: Final = text("""
    SELECT s.id AS slot_id, s.job, s.due_at, s.state, s.reason, s.count, i.id AS iteration_id, i.outcome,
           (extract(epoch FROM i.ended_at - i.started_at) * 1000)::bigint AS duration_ms
    FROM unnest(CAST(:jobs AS text[])) AS name
    CROSS JOIN LATERAL (
        SELECT * FROM slot WHERE (job, id) >= (name, '') AND (job, id) < (name, 'slt_g')
        ORDER BY job DESC, id DESC LIMIT :recent
    ) AS s
    LEFT JOIN LATERAL (
        SELECT * FROM iteration WHERE slot_id = s.id ORDER BY id DESC LIMIT 1
    ) AS i ON true
    ORDER BY s.id
""")

_QUARANTINED: Final = text("""
    SELECT job, scope, reason, since FROM quarantine WHERE job = ANY(:jobs) ORDER BY job, scope
""")


def jobs(session: Session, catalog: Mapping[str, Job], *, recent: int = 0) -> list[dict[str, Any]]:
    """The jobs of the catalog with their schedule, last iteration and the newest `recent` slots."""
    names = {"jobs": list(catalog)}
    last = {row.job: _last(row) for row in session.execute(_LAST, names)}
    planned = {item["job"]: item for item in schedules(session, catalog)}
    held: dict[str, list[dict[str, Any]]] = {}
    for row in session.execute(_QUARANTINED, names):
        entry = {"scope": row.scope, "reason": row.reason, "since": rfc3339(row.since)}
        held.setdefault(row.job, []).append(entry)
    strips = _recent(session, catalog, recent) if recent else None
    return [
        {
            "name": job.name,
            "title": job.title,
            "every_s": planned.get(job.name, {}).get("every_s", job.every_s),
            "soft_s": job.soft_s,
            "hard_s": job.hard_s,
            "queue": job.queue,
            "batch": job.batch,
            "internal": job.internal,
            "schedule": planned.get(job.name),
            "quarantine": held.get(job.name, []),
            "last_iteration": last.get(job.name),
            **({} if strips is None else {"recent": strips.get(job.name, [])}),
        }
        for job in catalog.values()
    ]


def _last(row: Any) -> dict[str, Any]:
    return {
        "id": row.id,
        "outcome": row.outcome,
        "error_type": row.error_type,
        "due_at": rfc3339(row.due_at),
        "started_at": rfc3339(row.started_at),
        "ended_at": rfc3339(row.ended_at),
        "waited_ms": row.waited_ms,
        "duration_ms": row.duration_ms,
    }


def _recent(session: Session, catalog: Mapping[str, Job], recent: int) -> dict[str, list[dict[str, Any]]]:
    strips: dict[str, list[dict[str, Any]]] = {}
    for row in session.execute(_RECENT, {"jobs": list(catalog), "recent": recent}):
        entry = {
            "slot_id": row.slot_id,
            "due_at": rfc3339(row.due_at),
            "state": row.state,
            "reason": row.reason,
            "count": row.count,
            "iteration_id": row.iteration_id,
            "outcome": row.outcome,
            "duration_ms": row.duration_ms,
        }
        strips.setdefault(row.job, []).append(entry)
    return strips


_SCHEDULES: Final = text("""
    SELECT s.*, paused AND (paused_until IS NULL OR paused_until > clock_timestamp()) AS is_paused,
           EXISTS (SELECT 1 FROM quarantine q WHERE q.job = s.job) AS is_quarantined,
           coalesce((SELECT email FROM app_user WHERE 'user:' || id = s.paused_by),
                    (SELECT name FROM api_key WHERE 'key:' || id = s.paused_by),
                    s.paused_by) AS paused_by_name,
           greatest(extract(epoch FROM clock_timestamp() - next_due_at), 0)::float8 AS overdue_s
    FROM schedule s WHERE job = ANY(:jobs) ORDER BY job
""")


def schedules(session: Session, catalog: Mapping[str, Job]) -> list[dict[str, Any]]:
    """The schedules as they are in force; `every_s` falls back to the catalog.

    `overdue_s` is how long the next due time has been waiting for a beat; None where nothing is due.
    """
    return [
        {
            "job": row.job,
            "every_s": row.every_s or (None if row.cron else catalog[row.job].every_s),
            "cron": row.cron,
            "timezone": row.timezone,
            "in_words": rhythm_of(row, catalog[row.job]).in_words(),
            "default_every_s": catalog[row.job].every_s,
            "enabled": row.enabled,
            "paused": row.is_paused,
            "paused_until": rfc3339(row.paused_until) if row.is_paused else None,
            "pause_reason": row.pause_reason if row.is_paused else None,
            "paused_by": row.paused_by if row.is_paused else None,
            "paused_by_name": row.paused_by_name if row.is_paused else None,
            "quarantined": row.is_quarantined,
            "next_due_at": rfc3339(row.next_due_at),
            "last_due_at": rfc3339(row.last_due_at),
            "overdue_s": row.overdue_s if row.enabled and not row.is_paused else None,
            "updated_at": rfc3339(row.updated_at),
        }
        for row in session.execute(_SCHEDULES, {"jobs": list(catalog)})
    ]


def schedule(session: Session, catalog: Mapping[str, Job], job: str) -> dict[str, Any]:
    """One schedule. Raises NotFound for a job that runs on request only."""
    found = schedules(session, {job: catalog[job]})
    if not found:
        raise NotFound(f"the job {job!r} has no schedule: it runs on request only")
    return found[0]


def unscheduled(session: Session, job: Job) -> dict[str, Any]:
    """What stands for a schedule where a job runs on request only: whether it is in quarantine."""
    held = session.execute(text("SELECT 1 FROM quarantine WHERE job = :job"), {"job": job.name}).first()
    return {"job": job.name, "every_s": None, "cron": None, "in_words": "on request", "paused": False,
            "quarantined": held is not None}  # fmt: skip
