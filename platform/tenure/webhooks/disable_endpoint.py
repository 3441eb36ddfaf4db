"""Disable an endpoint that asks not to be called again."""

from __future__ import annotations

from typing import Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from tenure.alerts.raise_alert import raise_alert
from tenure.outbox.replay import bury
from tenure.outbox.topics import WEBHOOK

DISABLED: Final = "the endpoint is disabled"

_DISABLE: Final = text("""
    UPDATE webhook_endpoint SET disabled_at = clock_timestamp(), disabled_reason = :reason
    WHERE id = :id AND disabled_at IS NULL
    RETURNING url
""")
_DEAD: Final = text("""
    UPDATE webhook_delivery SET state = 'dead', last_error = :error, next_at = NULL
    WHERE id = ANY(:ids) AND state IN ('pending', 'failed')
""")


def disable_endpoint(session: Session, endpoint_id: str, *, reason: str) -> None:
    """It is told nothing more; what waited for it are dead letters, to be replayed once it is enabled.

    A second time changes nothing.
    """
    row = session.execute(_DISABLE, {"id": endpoint_id, "reason": reason}).first()
    if row is None:
        return
    buried = bury(session, WEBHOOK, to=endpoint_id, error=DISABLED)
    session.execute(_DEAD, {"ids": [one["delivery_id"] for one in buried], "error": DISABLED})
    raise_alert(
        session,
        rule="webhook_disabled",
        subject=endpoint_id,
        message=f"the webhook endpoint {endpoint_id} was disabled ({reason}); {len(buried)} more events "
        "waited for it. Enable it and replay them, or delete it.",
        data={"endpoint_id": endpoint_id, "reason": reason},
    )
