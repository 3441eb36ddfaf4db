"""Events as the API shows them, and the history of one object's channel."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from tenure.events import order


def events(session: Session, *, after: int = 0, limit: int = 100) -> dict[str, Any]:
    """Events behind `after`, oldest first; `next_cursor` is the `after` of the next page."""
    placed = order.after(session, after, limit=limit + 1)
    items = [
        {
            "seq": event.seq,
            "id": event.id,
            "type": event.type,
            "ts": event.ts,
            "subject": event.subject,
            "iteration_id": event.iteration_id,
            "data": event.data,
        }
        for event in placed[:limit]
    ]
    return {"items": items, "next_cursor": str(items[-1]["seq"]) if len(placed) > limit else None}


_CHANNEL: Final = text("""
    SELECT c.ofs, c.seq, e.id, e.type, e.ts, e.data
    FROM event_channel c JOIN event_seq s ON s.seq = c.seq JOIN event e ON e.id = s.event_id
    WHERE c.channel = :channel AND c.ofs > :offset ORDER BY c.ofs LIMIT :limit
""")


def channel_history(
    session: Session, channel: str, *, offset: int = 0, limit: int = 1000
) -> list[dict[str, Any]]:
    """The events of one object's channel behind `offset`, oldest first: nothing is ever missing here."""
    return [
        {
            "offset": row.ofs,
            "seq": row.seq,
            "id": row.id,
            "type": row.type,
            "ts": row.ts.isoformat().replace("+00:00", "Z"),
            "data": row.data,
        }
        for row in session.execute(_CHANNEL, {"channel": channel, "offset": offset, "limit": limit})
    ]


def channel_top(session: Session, channel: str) -> int:
    """The newest offset of one object's channel; 0 before the first event."""
    return int(
        session.execute(
            text("SELECT coalesce(max(ofs), 0) FROM event_channel WHERE channel = :channel"),
            {"channel": channel},
        ).scalar_one()
    )
