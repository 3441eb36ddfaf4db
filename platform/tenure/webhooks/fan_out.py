"""Turn events into deliveries: one for each endpoint whose types match, read from the log in its order.

The log is read behind a cursor that moves in the transaction that writes the deliveries, so no event is
passed over and none is taken twice. An endpoint gets what was written after it.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from tenure.outbox.append import NewMessage, append
from tenure.outbox.topics import WEBHOOK
from tenure.webhooks.rules import FAMILIES, SINGLE

_CURSOR: Final = text("SELECT seq FROM webhook_cursor FOR UPDATE SKIP LOCKED")
# A deletion waits until the deliveries stand, and takes them along.
_KEEP_ENDPOINTS: Final = text("SELECT id FROM webhook_endpoint WHERE disabled_at IS NULL FOR KEY SHARE")
_FAN_OUT: Final = text("""
    WITH batch AS MATERIALIZED (
        SELECT seq, event_id FROM event_seq WHERE seq > :seq ORDER BY seq LIMIT :limit
    ), moved AS (
        UPDATE webhook_cursor SET seq = (SELECT max(seq) FROM batch) WHERE EXISTS (SELECT 1 FROM batch)
    ), told AS (
        SELECT b.seq, e.id, e.n,
               CASE WHEN e.type = 'iteration.ended' AND e.data->>'outcome' <> 'ok' THEN 'iteration.failed'
                    ELSE e.type END AS type
        FROM batch b JOIN event e ON e.id = b.event_id
    ), made AS (
        INSERT INTO webhook_delivery (id, endpoint_id, event_id, type, next_at)
        SELECT tenure_id('whd'), w.id, t.id, t.type, clock_timestamp()
        FROM told t JOIN webhook_endpoint w
             ON w.id = ANY(:endpoints) AND t.n > w.after_n
             AND w.types && ARRAY[t.type, split_part(t.type, '.', 1) || '.*', '*']
        WHERE split_part(t.type, '.', 1) = ANY(:families) OR t.type = ANY(:single)
        ORDER BY t.seq
        ON CONFLICT (endpoint_id, event_id) DO NOTHING
        RETURNING id, endpoint_id
    )
    SELECT id, endpoint_id, (SELECT count(*) FROM batch) AS read FROM made
    UNION ALL
    SELECT NULL, NULL, (SELECT count(*) FROM batch)
""")


def message_of(delivery_id: str, endpoint_id: str) -> NewMessage:
    """The outbox's message of a delivery."""
    return NewMessage(f"webhook:{delivery_id}", endpoint_id, {"delivery_id": delivery_id})


def fan_out(session: Session, *, limit: int) -> int:
    """Read up to `limit` events behind the cursor; how many those were.

    Also 0 while somebody else reads.
    """
    seq = session.execute(_CURSOR).scalar()
    if seq is None:
        return 0
    endpoints = list(session.scalars(_KEEP_ENDPOINTS))
    rows = session.execute(
        _FAN_OUT,
        {
            "seq": seq,
            "limit": limit,
            "endpoints": endpoints,
            "families": list(FAMILIES),
            "single": list(SINGLE),
        },
    ).all()
    append(session, WEBHOOK, [message_of(row.id, row.endpoint_id) for row in rows if row.id is not None])
    return int(rows[0].read)
