"""Schedules: rows that say when a job is due. Every beat reads them; each due time is claimed once.

What a row leaves open falls back to the catalog. Due times that were missed (every beat down, the broker
away, the schedule paused) become one slot with a count, never a burst.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError
from sqlalchemy import text
from sqlalchemy.orm import Session

from tenure.errors import Invalid, NotFound
from tenure.iterations.catalog import Job
from tenure.kit.db import StatementDoor
from tenure.kit.ids import new_id

# A cron expression that fires less often than this within a century is a mistake, not a plan; the bound
# also keeps counting missed times cheap.
_MOST_MISSED: Final = 100_000
_LONGEST_CRON: Final = 100


@dataclass(frozen=True, slots=True)
class Rhythm:
    """When a job is due: every so many seconds, or by a cron expression in a time zone."""

    every_s: float | None
    cron: str | None
    timezone: str

    def after(self, moment: datetime) -> datetime:
        """The first due time after the moment (UTC)."""
        if self.cron is not None:
            local = moment.astimezone(ZoneInfo(self.timezone))
            due: datetime = next(CronSim(self.cron, local))
            return due.astimezone(UTC)
        return moment + timedelta(seconds=self.every_s or 0.0)

    def missed(self, due: datetime, now: datetime) -> tuple[datetime, int, datetime]:
        """The latest due time up to now, how many there were since `due`, and the next one."""
        if self.cron is None and self.every_s:
            steps = max(0, math.floor((now - due).total_seconds() / self.every_s))
            latest = due + timedelta(seconds=steps * self.every_s)
            return latest, steps + 1, latest + timedelta(seconds=self.every_s)
        latest, count, following = due, 1, self.after(due)
        while following <= now and count < _MOST_MISSED:
            latest, count, following = following, count + 1, self.after(following)
        return latest, count, following


def check_cron(expression: str, timezone: str) -> None:
    """Raise Invalid naming the field when the expression or the zone cannot be used."""
    if timezone not in available_timezones():
        raise Invalid.field("timezone", "unknown", f"{timezone!r} is not an IANA time zone")
    if len(expression) > _LONGEST_CRON:
        raise Invalid.field("cron", "too_long", f"a cron expression has at most {_LONGEST_CRON} characters")
    try:
        next(CronSim(expression, datetime(2026, 1, 1, tzinfo=ZoneInfo(timezone))))
    except (CronSimError, StopIteration) as error:
        raise Invalid.field("cron", "cron", f"{expression!r} is no cron expression: {error}") from None


_SEED: Final = """
INSERT INTO schedule (job, next_due_at)
SELECT job, clock_timestamp() FROM unnest(%(jobs)s::text[]) AS job
ON CONFLICT DO NOTHING
"""


def seed(door: StatementDoor, jobs: Iterable[Job]) -> None:
    """Give every periodic job of the catalog a row; rows that exist keep what operators set."""
    door.run(_SEED, {"jobs": [job.name for job in jobs if job.every_s is not None]})


_DUE: Final = text("""
    SELECT job, every_s, cron, timezone, next_due_at, clock_timestamp() AS now,
           CASE WHEN paused THEN paused_until END AS was_paused_until
    FROM schedule
    WHERE enabled AND next_due_at <= clock_timestamp() AND job = ANY(:jobs)
      AND NOT (paused AND (paused_until IS NULL OR paused_until > clock_timestamp()))
    ORDER BY next_due_at FOR UPDATE SKIP LOCKED
""")

# A slot that has not started yet takes the later due times in: one run catches up for all of them.
_COALESCE: Final = text("""
    UPDATE slot SET count = count + :count
    WHERE id = (SELECT id FROM slot
                WHERE job = :job AND scope = '' AND state = 'pending' AND origin = 'schedule'
                  AND expires_at > clock_timestamp()
                ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED)
    RETURNING id
""")

_INSERT: Final = text("""
    INSERT INTO slot (id, job, scope, due_at, origin, count, expires_at)
    VALUES (:id, :job, '', :due_at, 'schedule', :count,
            clock_timestamp() + make_interval(secs => :expires_s))
    ON CONFLICT DO NOTHING
""")

_SKIP_PAUSED: Final = text("""
    WITH s AS (
        INSERT INTO slot (id, job, scope, due_at, origin, count, expires_at, state, reason, decided_at)
        VALUES (:id, :job, '', :due_at, 'schedule', :count, clock_timestamp(), 'skipped', 'paused',
                clock_timestamp())
        ON CONFLICT DO NOTHING RETURNING id, job, due_at, count
    )
    INSERT INTO event (id, type, subject, channels, data)
    SELECT tenure_id('evt'), 'slot.skipped', 'slot:' || id, ARRAY['iterations', 'slot:' || id],
           jsonb_build_object('slot_id', id, 'job', job, 'scope', '', 'due_at', due_at, 'count', count,
                              'reason', 'paused')
    FROM s
""")

_ADVANCE: Final = text("""
    UPDATE schedule SET next_due_at = :next_due_at, last_due_at = :due_at,
           paused = false, paused_until = NULL, pause_reason = NULL, paused_by = NULL
    WHERE job = :job
""")


def claim_due(session: Session, jobs: Mapping[str, Job]) -> int:
    """Turn due times into slots, each once however many beats call this, and return how many there were."""
    rows = session.execute(_DUE, {"jobs": list(jobs)}).all()
    for row in rows:
        job = jobs[row.job]
        rhythm = Rhythm(row.every_s or (None if row.cron else job.every_s), row.cron, row.timezone)
        # What fell due during a pause that is over is skipped for it; the rest is due now.
        pause_end = row.was_paused_until
        slept_through = pause_end is not None and row.next_due_at <= pause_end
        upto = pause_end if slept_through else row.now
        due_at, count, next_due_at = rhythm.missed(row.next_due_at, upto)
        slot = {"id": new_id("slt"), "job": job.name, "due_at": due_at, "count": count}
        if slept_through:
            session.execute(_SKIP_PAUSED, slot)
        elif session.execute(_COALESCE, {"job": job.name, "count": count}).first() is None:
            session.execute(_INSERT, {**slot, "expires_s": job.expires_s})
        session.execute(_ADVANCE, {"job": job.name, "due_at": due_at, "next_due_at": next_due_at})
    return len(rows)


def seconds_to_next(door: StatementDoor, jobs: Iterable[str]) -> float:
    """How long until something is due; at most a minute."""
    rows = door.run(
        "SELECT extract(epoch FROM min(next_due_at) - clock_timestamp())::float8 AS wait FROM schedule "
        "WHERE enabled AND job = ANY(%s) "
        "AND NOT (paused AND (paused_until IS NULL OR paused_until > clock_timestamp()))",
        [list(jobs)],
    )
    wait = rows[0]["wait"]
    return 60.0 if wait is None else min(max(wait, 0.0), 60.0)


def change(session: Session, job: Job, changes: Mapping[str, Any]) -> None:
    """Apply `every_s` or `cron`, `timezone`, `enabled`; the next due time follows from now.

    Raises Invalid naming the field, NotFound for a job without a schedule.
    """
    row = _locked(session, job)
    timezone = changes.get("timezone") or row.timezone
    every_s, cron = row.every_s, row.cron
    if changes.get("every_s") is not None and changes.get("cron") is not None:
        raise Invalid.field("cron", "exclusive", "give every_s or cron, not both")
    if changes.get("cron") is not None:
        every_s, cron = None, changes["cron"]
    elif changes.get("every_s") is not None:
        every_s, cron = changes["every_s"], None
    if cron is not None or timezone != row.timezone:
        check_cron(cron or "* * * * *", timezone)
    enabled = row.enabled if changes.get("enabled") is None else changes["enabled"]
    rhythm = Rhythm(every_s or (None if cron else job.every_s), cron, timezone)
    session.execute(
        text("""
            UPDATE schedule SET every_s = :every_s, cron = :cron, timezone = :timezone, enabled = :enabled,
                   next_due_at = :next_due_at, updated_at = clock_timestamp()
            WHERE job = :job
        """),
        {
            "job": job.name,
            "every_s": every_s,
            "cron": cron,
            "timezone": timezone,
            "enabled": enabled,
            "next_due_at": rhythm.after(row.now),
        },
    )
    session.execute(text("SELECT pg_notify('tenure_slots', '')"))


def pause(session: Session, job: Job, *, until: datetime | None, reason: str, by: str) -> None:
    """Let no scheduled slot of this job start until `until` (or a resume). Runs on request still work."""
    _locked(session, job)
    session.execute(
        text("""
            UPDATE schedule SET paused = true, paused_until = :until, pause_reason = :reason, paused_by = :by,
                   updated_at = clock_timestamp()
            WHERE job = :job
        """),
        {"job": job.name, "until": until, "reason": reason, "by": by},
    )


def resume(session: Session, job: Job) -> None:
    """End the pause now and lift a quarantine; what was missed meanwhile becomes one skipped slot."""
    _locked(session, job)
    session.execute(
        text("""
            UPDATE schedule SET paused_until = clock_timestamp(), updated_at = clock_timestamp()
            WHERE job = :job AND paused
        """),
        {"job": job.name},
    )
    session.execute(text("DELETE FROM quarantine WHERE job = :job"), {"job": job.name})
    session.execute(text("SELECT pg_notify('tenure_slots', '')"))


def _locked(session: Session, job: Job) -> Any:
    row = session.execute(
        text("SELECT *, clock_timestamp() AS now FROM schedule WHERE job = :job FOR UPDATE"),
        {"job": job.name},
    ).first()
    if row is None:
        raise NotFound(f"the job {job.name!r} has no schedule: it runs on request only")
    return row
