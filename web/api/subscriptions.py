"""Subscriptions, what may be done to them, and their timeline."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from tenure.subscriptions import queries
from tenure.subscriptions.cancel import cancel
from tenure.subscriptions.expire import expire
from tenure.subscriptions.extend import MOST_HOURS, extend
from tenure.subscriptions.pause import pause
from tenure.subscriptions.resume import resume
from tenure.subscriptions.rules import Status
from tenure.subscriptions.start import start
from tenure.subscriptions.timeline import timeline
from web.body import Body
from web.route import Call, Page, Routes
from web.version import Versioned

routes = Routes("Subscriptions")
SUBSCRIPTION = Versioned(
    read=lambda call, id_: queries.subscription(call.session, id_),
    locks=("SELECT 1 FROM subscription WHERE id = :id FOR NO KEY UPDATE",),
    fields=("id", "status", "anchor_at", "period_end", "cancel_at_period_end", "auto_renew", "paused_at"),
)

_LONGEST = 200


class NewSubscription(Body):
    """A customer and a plan; with `trial`, the plan's trial begins at once."""

    customer_id: str = Field(max_length=_LONGEST)
    plan_code: str = Field(max_length=_LONGEST)
    trial: bool = False


class SubscriptionFilter(Page):
    """A page of those of a customer (by id or external id), in a status, of a plan."""

    customer: str | None = Field(default=None, max_length=1000)
    status: Status | None = None
    plan: str | None = Field(default=None, max_length=_LONGEST)


class TimelinePage(Page):
    """A page of a timeline."""

    limit: int = Field(default=200, ge=1, le=1000)


class Cancellation(Body):
    """Now, or when the period ends."""

    at_period_end: bool = False


class Extension(Body):
    """By how much, and why."""

    hours: int = Field(ge=1, le=MOST_HOURS)
    reason: str = Field(min_length=1, max_length=500)


class Reason(Body):
    """Why."""

    reason: str = Field(min_length=1, max_length=500)


@routes.get("/subscriptions", query=SubscriptionFilter, summary="List subscriptions")
def list_subscriptions(call: Call, query: SubscriptionFilter) -> dict[str, Any]:
    return queries.subscriptions(
        call.session,
        limit=query.limit,
        cursor=query.cursor,
        customer=query.customer,
        status=query.status,
        plan_code=query.plan,
    )


@routes.post("/subscriptions", body=NewSubscription, status=201, summary="Start a subscription")
def start_subscription(call: Call, body: NewSubscription) -> dict[str, Any]:
    id_ = start(
        call.session,
        customer_id=body.customer_id,
        plan_code=body.plan_code,
        trial=body.trial,
        actor=call.actor,
    )
    return queries.subscription(call.session, id_)


@routes.get("/subscriptions/{id}", versioned=SUBSCRIPTION, summary="One subscription")
def show_subscription(call: Call, id: str) -> dict[str, Any]:  # noqa: A002 - the contract's name
    return queries.subscription(call.session, id)


@routes.get("/subscriptions/{id}/timeline", query=TimelinePage, summary="What happened to it, oldest first")
def show_timeline(call: Call, id: str, query: TimelinePage) -> dict[str, Any]:  # noqa: A002
    return timeline(call.session, id, limit=query.limit, cursor=query.cursor)


@routes.post(
    "/subscriptions/{id}/cancel",
    body=Cancellation,
    versioned=SUBSCRIPTION,
    summary="Cancel, now or at the period's end",
)
def cancel_subscription(call: Call, id: str, body: Cancellation) -> dict[str, Any]:  # noqa: A002
    cancel(call.session, id, at_period_end=body.at_period_end, actor=call.actor)
    return queries.subscription(call.session, id)


@routes.post(
    "/subscriptions/{id}/pause", versioned=SUBSCRIPTION, summary="Pause, keeping what remains of the period"
)
def pause_subscription(call: Call, id: str) -> dict[str, Any]:  # noqa: A002
    pause(call.session, id, actor=call.actor)
    return queries.subscription(call.session, id)


@routes.post(
    "/subscriptions/{id}/resume",
    versioned=SUBSCRIPTION,
    summary="Resume, or take a cancellation at the end back",
)
def resume_subscription(call: Call, id: str) -> dict[str, Any]:  # noqa: A002
    resume(call.session, id, actor=call.actor)
    return queries.subscription(call.session, id)


@routes.post(
    "/subscriptions/{id}/extend",
    body=Extension,
    key_required=True,
    versioned=SUBSCRIPTION,
    summary="Move the period's end",
)
def extend_subscription(call: Call, id: str, body: Extension) -> dict[str, Any]:  # noqa: A002
    extend(call.session, id, hours=body.hours, reason=body.reason, actor=call.actor)
    return queries.subscription(call.session, id)


@routes.post("/subscriptions/{id}/expire", body=Reason, versioned=SUBSCRIPTION, summary="Expire now")
def expire_subscription(call: Call, id: str, body: Reason) -> dict[str, Any]:  # noqa: A002
    expire(call.session, id, reason=body.reason, actor=call.actor)
    return queries.subscription(call.session, id)
