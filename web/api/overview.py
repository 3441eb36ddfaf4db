"""The whole install: workers, integrations, events, audit, alerts, figures, and the days ahead."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from tenure.accounts.principal import Role
from tenure.alerts import queries as alert_queries
from tenure.audit import queries as audit_queries
from tenure.events import queries as event_queries
from tenure.exporter import overview
from web.body import Body
from web.route import Call, Page, Routes

routes = Routes("Overview")


class EventsAfter(Body):
    """Events behind this place in the order."""

    after: int = Field(default=0, ge=0, le=2**62)
    limit: int = Field(default=100, ge=1, le=1000)


class AuditFilter(Page):
    """Filters of the audit log."""

    actor: str | None = Field(default=None, max_length=100)
    action: str | None = Field(default=None, max_length=100)
    object: str | None = Field(default=None, max_length=200)


class AlertFilter(Page):
    """Open or resolved ones."""

    state: Literal["firing", "open", "resolved"] | None = None


class Days(Body):
    """How many days ahead."""

    days: int = Field(default=14, ge=1, le=366)


@routes.get("/workers", summary="The processes that do the work")
def workers(call: Call) -> dict[str, Any]:
    return {"items": overview.workers(call.session), "next_cursor": None}


@routes.get("/events", query=EventsAfter, summary="Events in the order of their commit, oldest first")
def events(call: Call, query: EventsAfter) -> dict[str, Any]:
    return event_queries.events(call.session, after=query.after, limit=query.limit)


@routes.get("/audit", role=Role.OPERATOR, query=AuditFilter, summary="Who changed what")
def audit(call: Call, query: AuditFilter) -> dict[str, Any]:
    return audit_queries.entries(
        call.session,
        limit=query.limit,
        cursor=query.cursor,
        actor=query.actor,
        action=query.action,
        object_=query.object,
    )


@routes.get("/alerts", query=AlertFilter, summary="What a person should look at")
def alerts(call: Call, query: AlertFilter) -> dict[str, Any]:
    is_open = None if query.state is None else query.state != "resolved"
    return alert_queries.alerts(call.session, is_open=is_open, limit=query.limit, cursor=query.cursor)


@routes.get("/stats", summary="Counts by state, and both clocks")
def stats(call: Call) -> dict[str, Any]:
    return overview.stats(call.session)


@routes.get("/forecast", query=Days, summary="What the days ahead bring if nothing happens")
def forecast(call: Call, query: Days) -> dict[str, Any]:
    return {"items": overview.forecast(call.session, days=query.days), "next_cursor": None}
