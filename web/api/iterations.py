"""Jobs, runs, slots, iterations, schedules, queues: what runs, what ran, and when it will."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from flask import request
from pydantic import AwareDatetime, Field

from tasks import enqueue
from tenure.audit.record import record
from tenure.errors import Invalid
from tenure.iterations import queries, queues, schedules, slots
from tenure.iterations.catalog import catalog, job_named
from tenure.kit.times import parse_moment, rfc3339
from web.body import Body
from web.idempotency import key_of
from web.route import Call, Page, Routes

routes = Routes("Jobs")
Name = Annotated[str, Field(max_length=100)]


class NewRun(Body):
    """A run of a job now; `scope` narrows it."""

    scope: str = Field(default="", max_length=200)


class Slots(Page):
    """Filters of slots."""

    job: Name | None = None
    scope: str | None = Field(default=None, max_length=200)
    state: Literal["pending", "started", "skipped"] | None = None
    reason: Name | None = None
    since: Name | None = None


class Iterations(Page):
    """Filters of iterations."""

    job: Name | None = None
    scope: str | None = Field(default=None, max_length=200)
    outcome: Literal["ok", "failed", "timed_out", "killed", "lost", "canceled"] | None = None
    slot: Name | None = None
    open: bool | None = None
    since: Name | None = None


class ScheduleChange(Body):
    """When a job is due: `every_s` or `cron`, never both."""

    every_s: float | None = Field(default=None, gt=0, le=86_400 * 31)
    cron: str | None = Field(default=None, min_length=1, max_length=100)
    timezone: str | None = Field(default=None, min_length=1, max_length=64)
    enabled: bool | None = None


class Pause(Body):
    """Why, and until when; without `until` it lasts until somebody resumes."""

    reason: str = Field(min_length=1, max_length=500)
    until: AwareDatetime | None = None


@routes.get("/jobs", summary="The jobs with their schedule and last iteration")
def jobs(call: Call) -> dict[str, Any]:
    return {"items": queries.jobs(call.session, catalog(call.services.settings)), "next_cursor": None}


@routes.post("/jobs/{job}/runs", body=NewRun, status=202, summary="Run a job now")
def run(call: Call, job: str, body: NewRun) -> dict[str, Any]:
    made = call.services
    chosen = job_named(made.settings, job)
    made.gate.check("run", made.settings.limits.run_per_min, call.principal.name)
    # The key of the socket's `run`: asked for on both ways, it runs once.
    key = key_of(request, required=False)
    asked = slots.request_run(call.session, chosen, scope=body.scope, user_id=call.principal.id, run_key=key)
    slots.notify(call.session)
    record(
        call.session,
        actor=call.actor,
        action="job.run",
        object_=asked.slot_id,
        after={"job": job, "scope": body.scope},
    )
    call.after_commit(lambda: enqueue.publish_slot(made.door, asked.slot_id))
    return {"slot_id": asked.slot_id, "due_at": rfc3339(asked.due_at)}


@routes.get("/slots", query=Slots, summary="Slots, newest first")
def list_slots(call: Call, query: Slots) -> dict[str, Any]:
    return queries.slots(
        call.session,
        job=query.job,
        scope=query.scope,
        state=query.state,
        reason=query.reason,
        since=parse_moment(query.since, field="since") if query.since else None,
        limit=query.limit,
        cursor=query.cursor,
    ).as_dict()


@routes.get("/slots/{id}", summary="One slot with its iterations")
def slot(call: Call, id: str) -> dict[str, Any]:  # noqa: A002 - the contract's name
    return queries.slot(call.session, id)


@routes.get("/iterations", query=Iterations, summary="Iterations, newest first")
def list_iterations(call: Call, query: Iterations) -> dict[str, Any]:
    return queries.iterations(
        call.session,
        job=query.job,
        scope=query.scope,
        outcome=query.outcome,
        slot_id=query.slot,
        is_open=query.open,
        since=parse_moment(query.since, field="since") if query.since else None,
        limit=query.limit,
        cursor=query.cursor,
    ).as_dict()


@routes.get("/iterations/{id}", summary="One iteration")
def iteration(call: Call, id: str) -> dict[str, Any]:  # noqa: A002 - the contract's name
    return queries.iteration(call.session, id)


@routes.get("/schedules", summary="When each job is due")
def list_schedules(call: Call) -> dict[str, Any]:
    return {"items": queries.schedules(call.session, catalog(call.services.settings)), "next_cursor": None}


@routes.patch("/schedules/{job}", body=ScheduleChange, summary="Change when a job is due")
def change(call: Call, job: str, body: ScheduleChange) -> dict[str, Any]:
    if not body.model_fields_set:
        raise Invalid("nothing to change")
    before = _schedule(call, job, missing_ok=True)
    schedules.change(
        call.session, job_named(call.services.settings, job), body.model_dump(exclude_unset=True)
    )
    after = _schedule(call, job)
    record(call.session, actor=call.actor, action="schedule.changed", object_=job, before=before, after=after)
    return after


@routes.post("/schedules/{job}/pause", body=Pause, summary="Let no scheduled slot of a job start")
def pause(call: Call, job: str, body: Pause) -> dict[str, Any]:
    chosen = job_named(call.services.settings, job)
    schedules.pause(call.session, chosen, until=body.until, reason=body.reason, by=call.principal.name)
    after = _schedule(call, job)
    record(
        call.session, actor=call.actor, action="schedule.paused", object_=job, after=after, reason=body.reason
    )
    return after


@routes.post("/schedules/{job}/resume", summary="End the pause and lift a quarantine")
def resume(call: Call, job: str) -> dict[str, Any]:
    schedules.resume(call.session, job_named(call.services.settings, job))
    after = _schedule(call, job)
    record(call.session, actor=call.actor, action="schedule.resumed", object_=job, after=after)
    return after


@routes.get("/queues", summary="What waits, since when")
def list_queues(call: Call) -> dict[str, Any]:
    jobs_of_install = catalog(call.services.settings)
    depth = queues.depths(call.services.broker, jobs_of_install)
    return {"items": queues.samples(call.session, depth, jobs_of_install), "next_cursor": None}


def _schedule(call: Call, job: str, *, missing_ok: bool = False) -> dict[str, Any]:
    known = catalog(call.services.settings)
    found = {item["job"]: item for item in queries.schedules(call.session, known)}
    return found.get(job, {}) if missing_ok else found[job]
