"""The audit log as the API shows it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from tenure.kit.times import rfc3339
from tenure.model.record import Audit


def entries(
    session: Session,
    *,
    limit: int,
    cursor: str | None,
    actor: str | None = None,
    action: str | None = None,
    object_: str | None = None,
) -> dict[str, Any]:
    """A page of entries, newest first."""
    query = select(Audit).order_by(Audit.id.desc()).limit(limit + 1)
    given = {Audit.actor: actor, Audit.action: action, Audit.object: object_}
    for column, value in given.items():
        if value is not None:
            query = query.where(column == value)
    if cursor is not None:
        query = query.where(Audit.id < cursor)
    rows = list(session.scalars(query))
    items = [
        {
            "id": row.id,
            "ts": rfc3339(row.ts),
            "actor": row.actor,
            "action": row.action,
            "object": row.object,
            "before": row.before,
            "after": row.after,
            "reason": row.reason,
            "request_id": row.request_id,
            "subscription_id": row.subscription_id,
        }
        for row in rows[:limit]
    ]
    return {"items": items, "next_cursor": items[-1]["id"] if len(rows) > limit else None}
