"""Schedules: rows that say when a job is due. Every beat reads them; each due time is claimed once.

What a row leaves open falls back to the catalog. Due times that were missed (every beat down, the broker
away, the schedule paused) become one slot with a count, never a burst.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from sqlalchemy import text
from sqlalchemy.orm import Session

from tenure.errors import Invalid, NotFound
from tenure.iterations.catalog import Job
from tenure.iterations.rhythm import MOST_MISSED, Rhythm, check_cron, check_every, check_timezone
from tenure.kit.db import StatementDoor
from tenure.kit.ids import new_id
from tenure.kit.times import rfc3339

_FARTHEST_YEARS: Final = 100
# One schedule is changed at a time: what was due before may be counted further than by a beat's tick.
_MOST_SETTLED: Final = 5 * MOST_MISSED
_ON_REQUEST: Final = "the job {!r} has no schedule: it runs on request only"

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
        # What fell due during a pause that is over is skipped for it; the rest is due now.
        pause_end = row.was_paused_until
        slept_through = pause_end is not None and row.next_due_at <= pause_end
        due_at, next_due_at = _decide(
            session,
            jobs[row.job],
            rhythm_of(row, jobs[row.job]),
            since=row.next_due_at,
            upto=pause_end if slept_through else row.now,
            paused=slept_through,
        )
        # A long pause is counted in parts, and stands until all of it is.
        part_of_pause = slept_through and next_due_at <= pause_end
        session.execute(
            _MOVE_ON if part_of_pause else _ADVANCE,
            {"job": row.job, "due_at": due_at, "next_due_at": next_due_at},
        )
    return len(rows)


def _decide(
    session: Session, job: Job, rhythm: Rhythm, *, since: datetime, upto: datetime, paused: bool,
    most: int = MOST_MISSED,
) -> tuple[datetime, datetime]:  # fmt: skip
    """Make one slot of the due times from `since` up to `upto`; the latest of them, and the one after."""
    due_at, count, next_due_at = rhythm.missed(since, upto, most=most)
    slot = {"id": new_id("slt"), "job": job.name, "due_at": due_at, "count": count}
    if paused:
        session.execute(_SKIP_PAUSED, slot)
    elif session.execute(_COALESCE, {"job": job.name, "count": count}).first() is None:
        session.execute(_INSERT, {**slot, "expires_s": job.expires_s})
    return due_at, next_due_at


def rhythm_of(row: Any, job: Job) -> Rhythm:
    """The rhythm of a schedule's row; what it leaves open is the catalog's."""
    return Rhythm(row.every_s or (None if row.cron else job.every_s), row.cron, row.timezone)


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


def planned(row: Any, job: Job, changes: Mapping[str, Any]) -> tuple[float | None, str | None, Rhythm]:
    """What the row would hold (`every_s`, `cron`) and the rhythm that follows from it.

    A value replaces the other way of saying it; None gives a value back to the catalog. Raises Invalid
    naming the field.
    """
    timezone = changes.get("timezone") or row.timezone
    every_s, cron = changes.get("every_s", row.every_s), changes.get("cron", row.cron)
    if changes.get("every_s") is not None and changes.get("cron") is not None:
        raise Invalid.field("cron", "exclusive", "give every_s or cron, not both")
    if changes.get("cron") is not None:
        every_s = None
    elif changes.get("every_s") is not None:
        check_every(changes["every_s"])
        cron = None
    check_timezone(timezone)
    if cron is not None:
        check_cron(cron, timezone)
    return every_s, cron, Rhythm(every_s or (None if cron else job.every_s), cron, timezone)


def change(session: Session, job: Job, changes: Mapping[str, Any]) -> None:
    """Apply `every_s` or `cron`, `timezone`, `enabled`; the next due time follows from now.

    What fell due under the old rhythm is decided first, so that none of it goes without a slot. Raises
    Invalid naming the field, NotFound for a job without a schedule.
    """
    row = locked(session, job)
    every_s, cron, rhythm = planned(row, job, changes)
    _settle(session, job, row)
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
            "timezone": rhythm.timezone,
            "enabled": row.enabled if changes.get("enabled") is None else changes["enabled"],
            "next_due_at": rhythm.after(row.now),
        },
    )
    session.execute(text("SELECT pg_notify('tenure_slots', '')"))


def preview(
    session: Session, job: Job, changes: Mapping[str, Any], *, after: datetime | None, count: int
) -> dict[str, Any]:
    """The next `count` due times after the moment (now), had the changes been made; nothing is changed.

    Raises Invalid naming the field, NotFound for a job without a schedule.
    """
    row = session.execute(
        text("SELECT *, clock_timestamp() AS now FROM schedule WHERE job = :job"), {"job": job.name}
    ).first()
    if row is None:
        raise NotFound(_ON_REQUEST.format(job.name))
    if after is not None and abs(after.year - row.now.year) > _FARTHEST_YEARS:
        raise Invalid.field("after", "range", f"at most {_FARTHEST_YEARS} years from now")
    _, _, rhythm = planned(row, job, changes)
    zone = ZoneInfo(rhythm.timezone)
    return {
        "job": job.name,
        "in_words": rhythm.in_words(),
        "timezone": rhythm.timezone,
        "due": [
            {"at": rfc3339(moment), "local": moment.astimezone(zone).isoformat()}
            for moment in rhythm.upcoming(after or row.now, count)
        ],
    }


def pause(session: Session, job: Job, *, until: datetime | None, reason: str, by: str) -> None:
    """Let no scheduled slot of this job start until `until` (or a resume). Runs on request still work.

    Raises Invalid for an `until` that is over, NotFound for a job without a schedule.
    """
    row = locked(session, job)
    if until is not None and until <= row.now:
        raise Invalid.field("until", "past", "this moment has passed")
    session.execute(
        text("""
            UPDATE schedule SET paused = true, paused_until = :until, pause_reason = :reason, paused_by = :by,
                   updated_at = clock_timestamp()
            WHERE job = :job
        """),
        {"job": job.name, "until": until, "reason": reason, "by": by},
    )


def resume(session: Session, job: Job) -> None:
    """End the pause now and lift a quarantine; what was missed meanwhile becomes one skipped slot.

    A job that runs on request only has no pause: there it lifts the quarantine alone.
    """
    session.execute(
        text("""
            UPDATE schedule SET paused_until = least(paused_until, clock_timestamp()),
                   updated_at = clock_timestamp()
            WHERE job = :job AND paused
        """),
        {"job": job.name},
    )
    session.execute(text("DELETE FROM quarantine WHERE job = :job"), {"job": job.name})
    session.execute(text("SELECT pg_notify('tenure_slots', '')"))


_MOVE_ON: Final = text("""
    UPDATE schedule SET next_due_at = :next_due_at, last_due_at = :due_at WHERE job = :job
""")


def _settle(session: Session, job: Job, row: Any) -> None:
    """Decide what is due under what stands now: slots for it, or a skip where a pause held it back."""
    if not row.enabled or row.next_due_at is None or row.next_due_at > row.now:
        return
    held_until = None
    if row.paused:
        held_until = row.now if row.paused_until is None else min(row.paused_until, row.now)
    since, rhythm = row.next_due_at, rhythm_of(row, job)
    if held_until is not None and since <= held_until:
        due_at, since = _decide(
            session, job, rhythm, since=since, upto=held_until, paused=True, most=_MOST_SETTLED
        )
        session.execute(_MOVE_ON, {"job": job.name, "due_at": due_at, "next_due_at": since})
    if since <= row.now:
        due_at, since = _decide(
            session, job, rhythm, since=since, upto=row.now, paused=False, most=_MOST_SETTLED
        )
        session.execute(_MOVE_ON, {"job": job.name, "due_at": due_at, "next_due_at": since})


def locked(session: Session, job: Job) -> Any:
    """The schedule's row, locked, with the database's `now`. Raises NotFound when the job has none."""
    row = session.execute(
        text("SELECT *, clock_timestamp() AS now FROM schedule WHERE job = :job FOR UPDATE"),
        {"job": job.name},
    ).first()
    if row is None:
        raise NotFound(_ON_REQUEST.format(job.name))
    return row
