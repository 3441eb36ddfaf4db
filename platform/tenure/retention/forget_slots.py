"""Delete old slots whole: each with its iterations and their events, in one transaction.

A slot waits while any of its events is among the newest places, was not read for webhooks yet, or has a
delivery; so nobody who follows the order of events loses one that was still to be told. Places that are
deleted leave holes far behind every reader, and the last place given always stays.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from sqlalchemy import text

from tenure.iterations.run import Run
from tenure.retention.rules import NEWEST_EVENTS_KEPT, OTHER_DAYS, QUIET_DAYS

# Ids begin with their time, so the primary key finds the old ones. Nothing is taken that may have events
# without a place: those older than the oldest pending one by an hour, longer than any statement.
_BOUNDS: Final = text(f"""
    WITH pending AS (
        SELECT e.ts - interval '1 hour' AS ts
        FROM event_pending p JOIN event e ON e.id = p.event_id ORDER BY p.n LIMIT 1
    ), moment AS (
        SELECT least(clock_timestamp() - interval '{QUIET_DAYS} days', (SELECT ts FROM pending)) AS quiet,
               least(clock_timestamp() - interval '{OTHER_DAYS} days', (SELECT ts FROM pending)) AS other
    )
    SELECT quiet, other,
           'slt_' || lpad(to_hex((extract(epoch FROM quiet) * 1000)::bigint), 12, '0') AS quiet_id,
           'slt_' || lpad(to_hex((extract(epoch FROM other) * 1000)::bigint), 12, '0') AS other_id,
           least((SELECT coalesce(max(seq), 0) FROM event_seq) - :newest,
                 (SELECT coalesce(min(seq), 0) FROM webhook_cursor)) AS seq
    FROM moment
""")
_OLD: Final = text("""
    SELECT s.id FROM slot s
    WHERE s.id > :after AND s.id < :quiet_id AND s.state <> 'pending'
      AND CASE
          WHEN s.job = ANY(:internal) THEN NOT EXISTS (
              SELECT 1 FROM iteration i WHERE i.slot_id = s.id AND (i.ended_at >= :quiet) IS NOT FALSE)
          WHEN s.id < :other_id AND NOT EXISTS (
              SELECT 1 FROM iteration i WHERE i.slot_id = s.id AND (i.ended_at >= :other) IS NOT FALSE)
          THEN true
          ELSE s.state = 'started' AND NOT EXISTS (
              SELECT 1 FROM iteration i WHERE i.slot_id = s.id
                AND (i.ended_at < :quiet AND i.outcome = 'ok' AND i.counters->'done' = '0') IS NOT TRUE)
          END
      AND NOT EXISTS (
          SELECT 1 FROM event_channel c WHERE c.channel = 'slot:' || s.id AND c.seq > :seq)
      AND NOT EXISTS (
          SELECT 1 FROM event_channel c JOIN event_seq q ON q.seq = c.seq
          JOIN webhook_delivery d ON d.event_id = q.event_id
          WHERE c.channel = 'slot:' || s.id)
    ORDER BY s.id LIMIT :batch FOR UPDATE OF s SKIP LOCKED
""")
# Their places in the order and in the slot's channel go with them.
_EVENTS: Final = text("""
    DELETE FROM event e
    USING unnest(CAST(:ids AS text[])) AS gone (id), event_channel c, event_seq q
    WHERE c.channel = 'slot:' || gone.id AND q.seq = c.seq AND e.id = q.event_id
      AND (e.type LIKE 'iteration.%' OR e.type LIKE 'slot.%')
""")
_ITERATIONS: Final = text("DELETE FROM iteration WHERE slot_id = ANY(:ids)")
_SLOTS: Final = text("DELETE FROM slot WHERE id = ANY(:ids)")


def forget_slots(run: Run, *, internal_jobs: Collection[str]) -> None:
    """Old slots are gone with all that belongs to them; one that is open or pending never is."""
    after = ""
    while run.has_time:
        with run.transaction() as session:
            bounds = session.execute(_BOUNDS, {"newest": NEWEST_EVENTS_KEPT}).one()._asdict()
            ids = list(
                session.scalars(
                    _OLD, {**bounds, "after": after, "internal": list(internal_jobs), "batch": run.batch}
                )
            )
            for statement in (_EVENTS, _ITERATIONS, _SLOTS) if ids else ():
                session.execute(statement, {"ids": ids})
        run.counters.seen += len(ids)
        run.counters.done += len(ids)
        if len(ids) < run.batch:
            return
        after = ids[-1]
