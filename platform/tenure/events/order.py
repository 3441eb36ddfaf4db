"""Give events their place: a dense sequence in commit order, and offsets in their objects' channels.

A plain serial number is given before the commit, so a reader that follows it misses events that commit
late. Here one leader numbers what is already committed. The numbering statement runs under the leader's
lease row, so two relays can never number at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.orm import Session

_LEAD: Final = text("""
    INSERT INTO lease (name, holder, token, lease_until)
    VALUES ('relay', :holder, 1, clock_timestamp() + make_interval(secs => :lease_s))
    ON CONFLICT (name) DO UPDATE
    SET holder = excluded.holder, lease_until = excluded.lease_until,
        token = lease.token + CASE WHEN lease.holder = excluded.holder THEN 0 ELSE 1 END
    WHERE lease.holder = excluded.holder OR lease.lease_until < clock_timestamp()
    RETURNING token
""")

_NUMBER: Final = text("""
    WITH taken AS (
        DELETE FROM event_pending
        WHERE n IN (SELECT n FROM event_pending ORDER BY n LIMIT :limit)
        RETURNING n, event_id
    ), numbered AS (
        INSERT INTO event_seq (seq, event_id)
        SELECT (SELECT coalesce(max(seq), 0) FROM event_seq) + row_number() OVER (ORDER BY n), event_id
        FROM taken
        RETURNING seq, event_id
    ), objects AS (
        SELECT channel, seq
        FROM numbered JOIN event e ON e.id = event_id CROSS JOIN unnest(e.channels) AS channel
        WHERE strpos(channel, ':') > 0
    ), placed AS (
        INSERT INTO event_channel (channel, ofs, seq)
        SELECT channel,
               coalesce((SELECT max(ofs) FROM event_channel c WHERE c.channel = objects.channel), 0)
                   + row_number() OVER (PARTITION BY channel ORDER BY seq),
               seq
        FROM objects
    )
    SELECT count(*) FROM numbered
""")


def lead(session: Session, *, holder: str, lease_s: float) -> int | None:
    """Become or stay the leader for `lease_s` seconds; the token, or None while somebody else leads."""
    row = session.execute(_LEAD, {"holder": holder, "lease_s": lease_s}).first()
    return None if row is None else int(row.token)


def number_pending(session: Session, *, limit: int = 1000) -> int:
    """Number up to `limit` committed events and return how many.

    Only the leader calls this, after `lead()` in the same transaction: the lease row that it has locked
    keeps every other relay out until the commit.
    """
    return int(session.execute(_NUMBER, {"limit": limit}).scalar_one())


@dataclass(frozen=True, slots=True)
class PlacedEvent:
    """An event with its place in the order, and its offsets in its objects' channels."""

    seq: int
    id: str
    type: str
    ts: str
    subject: str
    iteration_id: str | None
    channels: tuple[str, ...]
    offsets: dict[str, int]
    data: dict[str, Any]


_AFTER: Final = text("""
    SELECT s.seq, e.id, e.type, e.ts, e.subject, e.iteration_id, e.channels, e.data,
           (SELECT jsonb_object_agg(c.channel, c.ofs) FROM event_channel c WHERE c.seq = s.seq) AS offsets
    FROM event_seq s JOIN event e ON e.id = s.event_id
    WHERE s.seq > :after ORDER BY s.seq LIMIT :limit
""")


def after(session: Session, seq: int, *, limit: int = 1000) -> list[PlacedEvent]:
    """The events behind this place, in order."""
    return [
        PlacedEvent(
            seq=row.seq,
            id=row.id,
            type=row.type,
            ts=row.ts.isoformat().replace("+00:00", "Z"),
            subject=row.subject,
            iteration_id=row.iteration_id,
            channels=tuple(row.channels),
            offsets=row.offsets or {},
            data=row.data,
        )
        for row in session.execute(_AFTER, {"after": seq, "limit": limit})
    ]


def last_seq(session: Session) -> int:
    """The newest place given; 0 before the first."""
    return int(session.execute(text("SELECT coalesce(max(seq), 0) FROM event_seq")).scalar_one())
