"""Claim messages for one try: by row lock, under a lease, with a token that only this claimer has.

The lock lasts for the claiming transaction alone; the lease keeps others away while the call is made without
any transaction. A claimer that died loses the message when its lease runs out; one that was merely slow
finds that its token does not fit any more (see `settle`).
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from tenure.outbox.topics import Promise, Topic


@dataclass(frozen=True, slots=True)
class Claimed:
    """One message in the hands of one claimer; `attempt` counts from 1."""

    id: str
    topic: Topic
    dedupe_key: str
    payload: Mapping[str, Any]
    attempt: int
    lock_token: str

    @property
    def to(self) -> str:
        """Who is to be told."""
        return str(self.payload["to"])


@dataclass(frozen=True, slots=True)
class Lapsed:
    """A message that nobody may try any more, because its last claimer vanished; `state` is where it went."""

    id: str
    state: str
    payload: Mapping[str, Any]


_CLAIM: Final = text("""
    WITH due AS (
        SELECT id FROM outbox
        WHERE topic = :topic AND state = 'ready' AND available_at <= clock_timestamp()
          AND (locked_until IS NULL OR (:again AND locked_until < clock_timestamp() AND attempts < :most))
          AND payload->>'to' <> ALL(CAST(:avoid AS text[]))
        ORDER BY available_at, id LIMIT :limit
        FOR NO KEY UPDATE SKIP LOCKED
    )
    UPDATE outbox o
    SET lock_token = :token, attempts = o.attempts + 1,
        locked_until = clock_timestamp() + make_interval(secs => :lease_s)
    FROM due WHERE o.id = due.id
    RETURNING o.id, o.dedupe_key, o.payload, o.attempts, o.available_at
""")

_LAPSED: Final = text("""
    WITH lapsed AS (
        SELECT id FROM outbox
        WHERE topic = :topic AND state = 'ready' AND locked_until < clock_timestamp()
          AND (NOT :again OR attempts >= :most)
        LIMIT :limit FOR NO KEY UPDATE SKIP LOCKED
    )
    UPDATE outbox o
    SET state = CASE WHEN :again THEN 'dead' ELSE 'unknown' END, lock_token = NULL, locked_until = NULL,
        last_error = 'the sender ended before the answer was written down'
    FROM lapsed WHERE o.id = lapsed.id
    RETURNING o.id, o.state, o.payload
""")


def claim(session: Session, topic: Topic, *, limit: int = 1, avoid: Sequence[str] = ()) -> list[Claimed]:
    """Up to `limit` messages that are due, the longest due first; none for a receiver in `avoid`.

    Commit before acting: the claim stands only then, and nobody else gets these messages while it stands.
    """
    token = secrets.token_hex(16)
    rows = session.execute(
        _CLAIM,
        {**_bounds(topic), "lease_s": topic.lease_s, "token": token, "limit": limit, "avoid": list(avoid)},
    ).all()
    return [
        Claimed(
            id=row.id,
            topic=topic,
            dedupe_key=row.dedupe_key,
            payload=row.payload,
            attempt=row.attempts,
            lock_token=token,
        )
        for row in sorted(rows, key=lambda row: (row.available_at, row.id))
    ]


def retire_lapsed(session: Session, topic: Topic, *, limit: int = 1000) -> list[Lapsed]:
    """Put away what must not be claimed again although its claimer vanished.

    At least once: messages whose tries are used up become dead letters (one that kills its senders ends
    here). At most once: each becomes `unknown`.
    """
    rows = session.execute(_LAPSED, {**_bounds(topic), "limit": limit})
    return [Lapsed(id=row.id, state=row.state, payload=row.payload) for row in rows]


def _bounds(topic: Topic) -> dict[str, Any]:
    return {
        "topic": topic.name,
        "most": topic.attempts,
        "again": topic.promise is Promise.AT_LEAST_ONCE,
    }
