"""One iteration with everything the ledger holds about it: slot, limits, records, attempts, effects."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from tenure.iterations import queries
from tenure.iterations.catalog import Job
from tenure.kit.times import rfc3339

# Ids are ordered by time, and every write of an iteration lies between its START and its END: only the
# events of that while are read (`first` to `last`). The margin covers clocks of different machines.
_MARGIN: Final = timedelta(seconds=10)

# The slot's channel has every event that the relay has placed; those that still wait for it come after.
_RECORDS: Final = text("""
    SELECT e.id, e.type, e.ts, e.data, c.seq
    FROM event_channel c JOIN event_seq q ON q.seq = c.seq JOIN event e ON e.id = q.event_id
    WHERE c.channel = 'slot:' || :slot AND e.iteration_id = :id
    UNION ALL
    SELECT e.id, e.type, e.ts, e.data, NULL FROM event e
    WHERE e.id >= :first AND e.id < :last AND e.iteration_id = :id
      AND e.type IN ('iteration.started', 'iteration.ended')
      AND EXISTS (SELECT 1 FROM event_pending p WHERE p.event_id = e.id)
    ORDER BY seq NULLS LAST, id
""")
_ROW: Final = text("""
    SELECT started_at, ended_at, deadline_at, node_id, max_attempts, clock_timestamp() AS now
    FROM iteration WHERE id = :id
""")
_EFFECTS: Final = text("""
    SELECT id, type, ts, subscription_id, count(*) OVER () AS total FROM event
    WHERE id >= :first AND id < :last AND iteration_id = :id AND subscription_id IS NOT NULL
    ORDER BY id LIMIT :limit
""")
_MOST_EFFECTS: Final = 50


def iteration_detail(session: Session, catalog: Mapping[str, Job], iteration_id: str) -> dict[str, Any]:
    """The iteration as `queries.iteration` has it, and more. Raises NotFound.

    `limits` are the catalog's of today (None for a job it no longer has), but for `deadline_at`, which START
    recorded. `records` are the ledger's own two events; the lines of the log lie on the node. `seq` is None
    while the relay has not given the event its place.
    """
    found = queries.iteration(session, iteration_id)
    slot_id, job = found["slot_id"], catalog.get(found["job"])
    row = session.execute(_ROW, {"id": iteration_id}).one()
    while_ = {
        "first": _event_id_at(row.started_at - _MARGIN),
        "last": _event_id_at((row.ended_at or row.now) + _MARGIN),
    }
    others = queries.iterations(session, slot_id=slot_id, limit=50).items
    return {
        **found,
        "node_id": row.node_id,
        "max_attempts": row.max_attempts,
        "queue": job.queue if job else None,
        "task_id": f"{slot_id}.{found['attempt']}",
        "slot": queries.slot(session, slot_id),
        "limits": {
            "soft_s": job.soft_s if job else None,
            "hard_s": job.hard_s if job else None,
            "deadline_at": rfc3339(row.deadline_at),
        },
        "records": _records(session, {"id": iteration_id, "slot": slot_id, **while_}),
        "attempts": others[::-1],
        "effects": _effects(session, {"id": iteration_id, **while_}),
    }


def _records(session: Session, values: Mapping[str, str]) -> list[dict[str, Any]]:
    return [
        {"event_id": row.id, "seq": row.seq, "type": row.type, "ts": rfc3339(row.ts), "data": row.data}
        for row in session.execute(_RECORDS, values)
    ]


def _effects(session: Session, values: Mapping[str, str]) -> dict[str, Any]:
    rows = session.execute(_EFFECTS, {**values, "limit": _MOST_EFFECTS}).all()
    items = [
        {"event_id": row.id, "ts": rfc3339(row.ts), "type": row.type, "subscription_id": row.subscription_id}
        for row in rows
    ]
    return {"count": rows[0].total if rows else 0, "items": items}


def _event_id_at(moment: datetime) -> str:
    return f"evt_{int(moment.timestamp() * 1000):012x}"
