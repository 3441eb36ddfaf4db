"""Alerts as the API shows them."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from tenure.kit.times import rfc3339

_ALERTS: Final = """
    SELECT * FROM alert {where} ORDER BY id DESC LIMIT :limit
"""


def alerts(
    session: Session, *, is_open: bool | None = None, limit: int = 50, cursor: str | None = None
) -> dict[str, Any]:
    """Alerts, newest first; `is_open` True gives those that nobody and nothing has resolved."""
    conditions = []
    if is_open is not None:
        conditions.append("(resolved_at IS NULL) = :is_open")
    if cursor is not None:
        conditions.append("id < :cursor")
    where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    rows = session.execute(
        text(_ALERTS.format(where=where)), {"is_open": is_open, "cursor": cursor, "limit": limit + 1}
    ).all()
    items = [
        {
            "id": row.id,
            "rule": row.rule,
            "subject": row.subject,
            "severity": row.severity,
            "message": row.message,
            "since": rfc3339(row.since),
            "last_seen_at": rfc3339(row.last_seen_at),
            "count": row.count,
            "state": "firing" if row.resolved_at is None else "resolved",
            "resolved_at": rfc3339(row.resolved_at),
            "data": row.data,
        }
        for row in rows[:limit]
    ]
    return {"items": items, "next_cursor": items[-1]["id"] if len(rows) > limit else None}
