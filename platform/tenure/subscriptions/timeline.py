"""A subscription's timeline: all that happened to it, with the iteration and the worker that did it."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from tenure.errors import NotFound
from tenure.kit.times import parse_moment, rfc3339

# Notices are read from their rows, which also tell of those that were skipped; their events are left out.
_TIMELINE: Final = text("""
    WITH entry AS (
        SELECT e.ts, e.id,
               CASE split_part(e.type, '.', 1) WHEN 'provisioning' THEN 'provisioning'
                    WHEN 'payment' THEN 'payment' WHEN 'invoice' THEN 'payment' ELSE 'event' END AS kind,
               e.type, e.iteration_id, e.data
        FROM event e WHERE e.subscription_id = :id AND e.type NOT LIKE 'notice.%'
        UNION ALL
        SELECT coalesce(n.sent_at, n.created_at), n.id, 'notice', n.kind, coalesce(n.sent_by, n.planned_by),
               n.data || jsonb_build_object(
                   'notice_id', n.id, 'stage', n.stage, 'channel', n.channel, 'state', n.state,
                   'skipped_reason', n.skipped_reason, 'ref', n.ref, 'attempts', n.attempts,
                   'planned_at', tenure_rfc3339(n.planned_at), 'last_error', n.last_error)
        FROM notice n WHERE n.subscription_id = :id
        UNION ALL
        SELECT a.ts, a.id, 'operator', a.action, NULL,
               jsonb_build_object('actor', a.actor, 'reason', a.reason, 'before', a.before, 'after', a.after)
        FROM audit a WHERE a.subscription_id = :id
    )
    SELECT entry.*, i.worker, i.job FROM entry LEFT JOIN iteration i ON i.id = entry.iteration_id
    WHERE CAST(:after_ts AS timestamptz) IS NULL OR (entry.ts, entry.id) > (:after_ts, :after_id)
    ORDER BY entry.ts, entry.id LIMIT :limit
""")
_EXISTS: Final = text("SELECT 1 FROM subscription WHERE id = :id")


def timeline(
    session: Session, subscription_id: str, *, limit: int, cursor: str | None = None
) -> dict[str, Any]:
    """A page of the timeline, oldest first. Raises NotFound."""
    if session.execute(_EXISTS, {"id": subscription_id}).first() is None:
        raise NotFound(f"there is no subscription {subscription_id!r}")
    moment, _, after_id = (cursor or "").partition("~")
    found = session.execute(
        _TIMELINE,
        {
            "id": subscription_id,
            "after_ts": parse_moment(moment, field="cursor") if cursor else None,
            "after_id": after_id,
            "limit": limit + 1,
        },
    ).all()
    items = [
        {
            "ts": rfc3339(row.ts),
            "kind": row.kind,
            "type": row.type,
            "iteration_id": row.iteration_id,
            "job": row.job,
            "worker": row.worker,
            "data": row.data,
        }
        for row in found[:limit]
    ]
    last = found[limit - 1] if len(found) > limit else None
    return {"items": items, "next_cursor": f"{rfc3339(last.ts)}~{last.id}" if last else None}
