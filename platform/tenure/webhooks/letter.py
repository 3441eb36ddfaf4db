"""One delivery, ready to be posted: where to, what, and how it is signed."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from tenure.kit.times import rfc3339
from tenure.outbox.claim import Claimed
from tenure.outbox.settle import acknowledge, fail
from tenure.webhooks.disable_endpoint import DISABLED

_LOAD: Final = text("""
    SELECT d.id, d.endpoint_id, d.event_id, d.type, w.url, w.secret_sealed, w.disabled_at,
           CASE WHEN w.previous_until > clock_timestamp() THEN w.previous_sealed END AS previous_sealed,
           e.ts, e.subject, e.iteration_id, e.data, s.seq
    FROM webhook_delivery d
    JOIN webhook_endpoint w ON w.id = d.endpoint_id
    JOIN event e ON e.id = d.event_id
    JOIN event_seq s ON s.event_id = e.id
    WHERE d.id = :id FOR KEY SHARE OF w
""")
_TRIED: Final = text("UPDATE webhook_delivery SET attempts = attempts + 1 WHERE id = :id")
_DEAD: Final = text("""
    UPDATE webhook_delivery SET state = 'dead', last_error = :error, next_at = NULL WHERE id = :id
""")


@dataclass(frozen=True, slots=True)
class Letter:
    """What is posted. The event's id is the message's id: it stays over all tries and replays."""

    delivery_id: str
    endpoint_id: str
    event_id: str
    url: str
    # The newest first; two while a secret is being changed.
    secrets_sealed: tuple[bytes, ...] = field(repr=False)
    body: bytes = field(repr=False)


def letter_of(session: Session, claimed: Claimed) -> Letter | None:
    """The letter of a claimed message, its try counted.

    None, and the message settled, when the endpoint was deleted or disabled meanwhile.
    """
    row = session.execute(_LOAD, {"id": claimed.payload["delivery_id"]}).first()
    if row is None:
        acknowledge(session, claimed)
        return None
    if row.disabled_at is not None:
        fail(session, claimed, error=DISABLED, final=True)
        session.execute(_DEAD, {"id": row.id, "error": DISABLED})
        return None
    session.execute(_TRIED, {"id": row.id})
    return Letter(
        delivery_id=row.id,
        endpoint_id=row.endpoint_id,
        event_id=row.event_id,
        url=row.url,
        secrets_sealed=tuple(bytes(one) for one in (row.secret_sealed, row.previous_sealed) if one),
        body=_body(row),
    )


def _body(row: Row[Any]) -> bytes:
    # From the event alone, in a fixed order: every try has the same bytes.
    message = {
        "id": row.event_id,
        "type": row.type,
        "timestamp": rfc3339(row.ts),
        "seq": row.seq,
        "subject": row.subject,
        "iteration_id": row.iteration_id,
        "data": row.data,
    }
    return json.dumps(message, separators=(",", ":")).encode()
