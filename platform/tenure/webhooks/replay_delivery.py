"""Tell an endpoint of an event again, under the same id."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from tenure.audit.record import Actor, record
from tenure.errors import Conflict, NotFound
from tenure.outbox.replay import replay
from tenure.outbox.topics import WEBHOOK
from tenure.webhooks.fan_out import message_of
from tenure.webhooks.queries import delivery_by_id

_LOCK: Final = text("""
    SELECT d.endpoint_id, d.state, w.disabled_at
    FROM webhook_delivery d JOIN webhook_endpoint w ON w.id = d.endpoint_id
    WHERE d.id = :id FOR KEY SHARE OF w
""")
_PENDING: Final = text("""
    UPDATE webhook_delivery SET state = 'pending', replays = replays + 1, next_at = clock_timestamp()
    WHERE id = :id
""")


def replay_delivery(session: Session, delivery_id: str, *, actor: Actor) -> dict[str, Any]:
    """The delivery, due now with all its tries before it, whether it had arrived or not.

    The event's id stays, so a receiver that keeps ids takes it as a repeat. Raises NotFound, Conflict
    `endpoint_disabled`, and Conflict `in_progress` while it is being tried.
    """
    row = session.execute(_LOCK, {"id": delivery_id}).first()
    if row is None:
        raise NotFound(f"there is no webhook delivery {delivery_id!r}")
    if row.disabled_at is not None:
        raise Conflict("the endpoint is disabled: enable it first", code="endpoint_disabled")
    replay(session, WEBHOOK, message_of(delivery_id, row.endpoint_id))
    session.execute(_PENDING, {"id": delivery_id})
    record(
        session,
        actor=actor,
        action="webhook_delivery.replay",
        object_=f"webhook_delivery:{delivery_id}",
        before={"state": row.state},
    )
    return delivery_by_id(session, delivery_id)
