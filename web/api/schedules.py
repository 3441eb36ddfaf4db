"""Schedules: when each job is due, and what operators do about it."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AwareDatetime, Field
from sqlalchemy.orm import Session

from tenure.audit.record import Actor
from tenure.iterations import operate, queries, schedules
from tenure.iterations.catalog import Job, catalog, job_named
from tenure.iterations.rhythm import LONGEST_S, SHORTEST_S
from tenure.kit.times import parse_moment
from web.body import Body
from web.route import Call, Routes
from web.version import Versioned

routes = Routes("Schedules")
SCHEDULE = Versioned(
    read=lambda call, job: queries.schedule(call.session, catalog(call.services.settings), job),
    locks=("SELECT 1 FROM schedule WHERE job = :job FOR UPDATE",),
    fields=("job", "every_s", "cron", "timezone", "enabled", "paused", "paused_until", "pause_reason"),
)
EveryS = Annotated[float, Field(ge=SHORTEST_S, le=LONGEST_S)]
Cron = Annotated[str, Field(min_length=1, max_length=100)]
Zone = Annotated[str, Field(min_length=1, max_length=64)]


class ScheduleChange(Body):
    """When a job is due: `every_s` or `cron`, never both; null gives the value back to the catalog."""

    every_s: EveryS | None = None
    cron: Cron | None = None
    timezone: Zone | None = None
    enabled: bool | None = None


class Pause(Body):
    """Why, and until when; without `until` it lasts until somebody resumes."""

    reason: str = Field(min_length=1, max_length=500)
    until: AwareDatetime | None = None


class Preview(Body):
    """What would be set; what is left out stays as it is. `after` is the moment to count from: now."""

    every_s: EveryS | None = None
    cron: Cron | None = None
    timezone: Zone | None = None
    after: str | None = Field(default=None, max_length=100)
    count: int = Field(default=5, ge=1, le=50)


def act(session: Session, job: Job, body: Body, *, actor: Actor) -> dict[str, Any]:
    """Carry out what the body asks for: the same for HTTP and for the socket."""
    match body:
        case Pause():
            return operate.pause_schedule(session, job, until=body.until, reason=body.reason, actor=actor)
        case ScheduleChange():
            changes = body.model_dump(exclude_unset=True)
            return operate.edit_schedule(session, job, changes, actor=actor)
        case _:
            return operate.resume_schedule(session, job, actor=actor)


@routes.get("/schedules", summary="When each job is due")
def list_schedules(call: Call) -> dict[str, Any]:
    return {"items": queries.schedules(call.session, catalog(call.services.settings)), "next_cursor": None}


@routes.get("/schedules/{job}", versioned=SCHEDULE, summary="When one job is due")
def show(call: Call, job: str) -> dict[str, Any]:
    chosen = job_named(call.services.settings, job)
    return queries.schedule(call.session, {job: chosen}, job)


@routes.get("/schedules/{job}/preview", query=Preview, summary="The due times that a change would bring")
def preview(call: Call, job: str, query: Preview) -> dict[str, Any]:
    return schedules.preview(
        call.session,
        job_named(call.services.settings, job),
        query.model_dump(include={"every_s", "cron", "timezone"}, exclude_unset=True),
        after=parse_moment(query.after, field="after") if query.after else None,
        count=query.count,
    )


@routes.patch("/schedules/{job}", body=ScheduleChange, versioned=SCHEDULE, summary="Change when a job is due")
def change(call: Call, job: str, body: ScheduleChange) -> dict[str, Any]:
    return act(call.session, job_named(call.services.settings, job), body, actor=call.actor)


@routes.post(
    "/schedules/{job}/pause",
    body=Pause,
    versioned=SCHEDULE,
    summary="Let no scheduled slot of a job start",
)
def pause(call: Call, job: str, body: Pause) -> dict[str, Any]:
    return act(call.session, job_named(call.services.settings, job), body, actor=call.actor)


@routes.post("/schedules/{job}/resume", versioned=SCHEDULE, summary="End the pause and lift a quarantine")
def resume(call: Call, job: str) -> dict[str, Any]:
    chosen = job_named(call.services.settings, job)
    return operate.resume_schedule(call.session, chosen, actor=call.actor)
