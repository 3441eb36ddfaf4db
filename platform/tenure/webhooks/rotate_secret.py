"""Give an endpoint a new secret; for a day messages are signed with the one before as well."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from tenure.audit.record import Actor, record
from tenure.kit.sealing import Sealer
from tenure.webhooks.queries import endpoint_by_id
from tenure.webhooks.secret import new_secret

_BOTH_LIVE_H: Final = 24
_ROTATE: Final = text("""
    UPDATE webhook_endpoint
    SET previous_sealed = secret_sealed, secret_sealed = :sealed,
        previous_until = clock_timestamp() + :hours * interval '1 hour'
    WHERE id = :id
""")


def rotate_secret(session: Session, endpoint_id: str, *, sealer: Sealer, actor: Actor) -> dict[str, Any]:
    """The endpoint with its new `secret`, shown this once. Raises NotFound.

    A change within the day before ends the oldest secret at once: two are live, never three.
    """
    endpoint_by_id(session, endpoint_id)
    secret = new_secret()
    sealed = sealer.seal(secret, about=endpoint_id)
    session.execute(_ROTATE, {"id": endpoint_id, "sealed": sealed, "hours": _BOTH_LIVE_H})
    record(
        session,
        actor=actor,
        action="webhook_endpoint.rotate_secret",
        object_=f"webhook_endpoint:{endpoint_id}",
    )
    return {**endpoint_by_id(session, endpoint_id), "secret": secret}
