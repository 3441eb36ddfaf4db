"""What operators do to jobs, whichever way they ask: the act, its audit entry and its event together.

API, command line and socket all come here, so that none of them can leave out the record of who did what.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from sqlalchemy.orm import Session

from tenure.audit.record import Actor, record
from tenure.errors import Invalid
from tenure.events.append import NewEvent, append
from tenure.iterations import queries, schedules, slots
from tenure.iterations.catalog import Job
from tenure.iterations.slots import Requested

_LONGEST_REASON: Final = 500


def edit_schedule(session: Session, job: Job, changes: Mapping[str, Any], *, actor: Actor) -> dict[str, Any]:
    """Change `every_s` or `cron`, `timezone`, `enabled`; the schedule as it stands then.

    Raises Invalid naming the field, NotFound for a job without a schedule.
    """
    if not changes:
        raise Invalid("nothing to change")
    schedules.locked(session, job)
    before = _standing(session, job)
    schedules.change(session, job, changes)
    return _told(session, job, "schedule.changed", before, actor=actor)


def pause_schedule(
    session: Session, job: Job, *, until: datetime | None, reason: str, actor: Actor
) -> dict[str, Any]:
    """Hold the schedule until then, or until somebody resumes; the schedule as it stands then.

    Raises Invalid naming the field, NotFound for a job without a schedule.
    """
    if not 0 < len(reason.strip()) <= _LONGEST_REASON:
        raise Invalid.field("reason", "length", f"say why, in 1 to {_LONGEST_REASON} characters")
    schedules.locked(session, job)
    before = _standing(session, job)
    schedules.pause(session, job, until=until, reason=reason, by=actor.name)
    return _told(session, job, "schedule.paused", before, actor=actor, reason=reason)


def resume_schedule(session: Session, job: Job, *, actor: Actor) -> dict[str, Any]:
    """End a pause and lift a quarantine; the schedule as it stands then."""
    before = _standing(session, job)
    schedules.resume(session, job)
    return _told(session, job, "schedule.resumed", before, actor=actor)


def run_now(
    session: Session,
    job: Job,
    *,
    scope: str = "",
    actor: Actor,
    user_id: str | None = None,
    run_key: str | None = None,
) -> Requested:
    """Write the slot of a run and wake a publisher; a repeat of the same key adds nothing."""
    asked = slots.request_run(session, job, scope=scope, user_id=user_id, run_key=run_key)
    if not asked.duplicate:
        slots.notify(session)
        after = {"job": job.name, "scope": scope}
        record(session, actor=actor, action="job.run", object_=asked.slot_id, after=after)
    return asked


def _standing(session: Session, job: Job) -> dict[str, Any]:
    found = queries.schedules(session, {job.name: job})
    # A job that runs on request only has no schedule, but it may be in quarantine.
    return found[0] if found else queries.unscheduled(session, job)


def _told(
    session: Session,
    job: Job,
    action: str,
    before: Mapping[str, Any],
    *,
    actor: Actor,
    reason: str | None = None,
) -> dict[str, Any]:
    after = _standing(session, job)
    # The clock's own steps are no part of what the operator did.
    quiet = {"overdue_s", "updated_at"}
    record(
        session,
        actor=actor,
        action=action,
        object_=job.name,
        before={name: value for name, value in before.items() if name not in quiet},
        after={name: value for name, value in after.items() if name not in quiet},
        reason=reason,
    )
    append(session, [NewEvent(action, f"schedule:{job.name}", ("system",), after)])
    return after
