"""Endpoints and deliveries as the API shows them; never a secret."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from tenure.errors import NotFound
from tenure.kit.times import rfc3339
from tenure.model.webhook import WebhookDelivery, WebhookEndpoint


def shown(endpoint: WebhookEndpoint) -> dict[str, Any]:
    """One endpoint."""
    return {
        "id": endpoint.id,
        "url": endpoint.url,
        "types": list(endpoint.types),
        "disabled_at": rfc3339(endpoint.disabled_at),
        "disabled_reason": endpoint.disabled_reason,
        "failures": endpoint.failures,
        "previous_secret_until": rfc3339(endpoint.previous_until),
        "created_at": rfc3339(endpoint.created_at),
    }


def endpoint_by_id(session: Session, endpoint_id: str) -> dict[str, Any]:
    """One endpoint. Raises NotFound."""
    endpoint = session.get(WebhookEndpoint, endpoint_id, populate_existing=True)
    if endpoint is None:
        raise NotFound(f"there is no webhook endpoint {endpoint_id!r}")
    return shown(endpoint)


def endpoints(session: Session, *, limit: int, cursor: str | None = None) -> dict[str, Any]:
    """A page of endpoints, newest first."""
    query = select(WebhookEndpoint).order_by(WebhookEndpoint.id.desc()).limit(limit + 1)
    if cursor:
        query = query.where(WebhookEndpoint.id < cursor)
    found = session.scalars(query).all()
    return {
        "items": [shown(endpoint) for endpoint in found[:limit]],
        "next_cursor": found[limit - 1].id if len(found) > limit else None,
    }


def _delivery(row: WebhookDelivery) -> dict[str, Any]:
    return {
        "id": row.id,
        "endpoint_id": row.endpoint_id,
        "event_id": row.event_id,
        "type": row.type,
        "state": row.state,
        "attempts": row.attempts,
        "replays": row.replays,
        "last_status": row.last_status,
        "last_error": row.last_error,
        "next_at": rfc3339(row.next_at),
        "delivered_at": rfc3339(row.delivered_at),
        "created_at": rfc3339(row.created_at),
    }


def delivery_by_id(session: Session, delivery_id: str) -> dict[str, Any]:
    """One delivery. Raises NotFound."""
    row = session.get(WebhookDelivery, delivery_id, populate_existing=True)
    if row is None:
        raise NotFound(f"there is no webhook delivery {delivery_id!r}")
    return _delivery(row)


def deliveries(
    session: Session,
    *,
    limit: int,
    cursor: str | None = None,
    endpoint: str | None = None,
    state: str | None = None,
    event: str | None = None,
) -> dict[str, Any]:
    """A page of deliveries, newest first."""
    query = select(WebhookDelivery).order_by(WebhookDelivery.id.desc()).limit(limit + 1)
    given = {
        WebhookDelivery.endpoint_id: endpoint,
        WebhookDelivery.state: state,
        WebhookDelivery.event_id: event,
    }
    for column, value in given.items():
        if value is not None:
            query = query.where(column == value)
    if cursor:
        query = query.where(WebhookDelivery.id < cursor)
    found = session.scalars(query).all()
    return {
        "items": [_delivery(row) for row in found[:limit]],
        "next_cursor": found[limit - 1].id if len(found) > limit else None,
    }
