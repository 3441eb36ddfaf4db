"""Jobs, runs, slots, iterations, queues: what runs, and what ran."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from flask import request
from pydantic import Field

from tasks import enqueue
from tenure.iterations import operate, queries, queues
from tenure.iterations.catalog import catalog, job_named
from tenure.iterations.iteration_detail import iteration_detail
from tenure.kit.times import parse_moment, rfc3339
from tenure.model.iteration import SkipReason
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
    reason: SkipReason | None = None
    since: Name | None = None


class Iterations(Page):
    """Filters of iterations."""

    job: Name | None = None
    scope: str | None = Field(default=None, max_length=200)
    outcome: Literal["ok", "failed", "timed_out", "killed", "lost", "canceled"] | None = None
    slot: Name | None = None
    open: bool | None = None
    since: Name | None = None


class Recent(Body):
    """How many of the newest slots to show with each job."""

    recent: int = Field(default=0, ge=0, le=50)


@routes.get("/jobs", query=Recent, summary="The jobs with their schedule and last iteration")
def jobs(call: Call, query: Recent) -> dict[str, Any]:
    known = catalog(call.services.settings)
    return {"items": queries.jobs(call.session, known, recent=query.recent), "next_cursor": None}


@routes.post("/jobs/{job}/runs", body=NewRun, status=202, summary="Run a job now")
def run(call: Call, job: str, body: NewRun) -> dict[str, Any]:
    made = call.services
    chosen = job_named(made.settings, job)
    made.gate.check("run", made.settings.limits.run_per_min, call.principal.name)
    asked = operate.run_now(
        call.session,
        chosen,
        scope=body.scope,
        actor=call.actor,
        user_id=call.principal.id,
        # The key of the socket's `run`: asked for on both ways, it runs once.
        run_key=key_of(request, required=False),
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


@routes.get("/iterations/{id}", summary="One iteration with its slot, limits, records, attempts and effects")
def iteration(call: Call, id: str) -> dict[str, Any]:  # noqa: A002 - the contract's name
    return iteration_detail(call.session, catalog(call.services.settings), id)


@routes.get("/queues", summary="What waits, since when")
def list_queues(call: Call) -> dict[str, Any]:
    jobs_of_install = catalog(call.services.settings)
    depth = queues.depths(call.services.broker, jobs_of_install)
    return {"items": queues.samples(call.session, depth, jobs_of_install), "next_cursor": None}
