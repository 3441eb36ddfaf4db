"""Enable an endpoint that was disabled."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from tenure.alerts.raise_alert import resolve_alert
from tenure.audit.record import Actor, record
from tenure.webhooks.queries import endpoint_by_id

_ENABLE: Final = text("""
    UPDATE webhook_endpoint SET disabled_at = NULL, disabled_reason = NULL, failures = 0
    WHERE id = :id AND disabled_at IS NOT NULL
    RETURNING id
""")


def enable_endpoint(session: Session, endpoint_id: str, *, actor: Actor) -> dict[str, Any]:
    """The endpoint, told of events again; what happened in between is not told by itself. Raises NotFound."""
    before = endpoint_by_id(session, endpoint_id)
    if session.execute(_ENABLE, {"id": endpoint_id}).first() is None:
        return before
    resolve_alert(session, rule="webhook_disabled", subject=endpoint_id)
    record(
        session,
        actor=actor,
        action="webhook_endpoint.enable",
        object_=f"webhook_endpoint:{endpoint_id}",
        before={"disabled_at": before["disabled_at"], "disabled_reason": before["disabled_reason"]},
    )
    return endpoint_by_id(session, endpoint_id)
