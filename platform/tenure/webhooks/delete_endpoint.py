"""Delete an endpoint with its deliveries."""

from __future__ import annotations

from typing import Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from tenure.alerts.raise_alert import resolve_alert
from tenure.audit.record import Actor, record
from tenure.errors import NotFound
from tenure.outbox.replay import discard
from tenure.outbox.topics import WEBHOOK

_DELETE: Final = text("DELETE FROM webhook_endpoint WHERE id = :id RETURNING url, types")


def delete_endpoint(session: Session, endpoint_id: str, *, actor: Actor) -> None:
    """Nothing is told to it any more, but a post that is on its way may still arrive. Raises NotFound."""
    row = session.execute(_DELETE, {"id": endpoint_id}).first()
    if row is None:
        raise NotFound(f"there is no webhook endpoint {endpoint_id!r}")
    discard(session, WEBHOOK, to=endpoint_id)
    for rule in ("webhook_dead", "webhook_disabled"):
        resolve_alert(session, rule=rule, subject=endpoint_id)
    record(
        session,
        actor=actor,
        action="webhook_endpoint.delete",
        object_=f"webhook_endpoint:{endpoint_id}",
        before={"url": row.url, "types": list(row.types)},
    )
