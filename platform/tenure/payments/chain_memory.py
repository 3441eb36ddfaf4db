"""What is remembered of a chain between two looks: cursor, ring of hashes, and what expiry may rely on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from tenure.payments.look import RING, Memory, Sight

_READ: Final = text("SELECT next_block, head_block, version FROM chain_cursor WHERE chain = :chain")
_RING: Final = text("SELECT number, hash FROM chain_block WHERE chain = :chain")
# Addresses that are no longer in the settings are watched while an amount is reserved there.
_ADDRESSES: Final = text("SELECT DISTINCT address FROM quote WHERE chain = :chain AND live")
_NOW: Final = text("SELECT tenure_now()")

_BEGIN: Final = text("""
    INSERT INTO chain_cursor (chain, next_block, head_block, version) VALUES (:chain, :next, :head, 1)
    ON CONFLICT DO NOTHING RETURNING version
""")
_MOVE: Final = text("""
    UPDATE chain_cursor SET next_block = :next, head_block = :head, version = version + 1,
                            updated_at = clock_timestamp()
    WHERE chain = :chain AND version = :version RETURNING version
""")
_FORGET: Final = text(
    "DELETE FROM chain_block WHERE chain = :chain AND (number > :fork OR number <= :oldest)"
)
_REMEMBER: Final = text("""
    INSERT INTO chain_block (chain, number, hash, parent_hash, timestamp)
    SELECT :chain, b.number, b.hash, b.parent_hash, b.timestamp
    FROM jsonb_to_recordset(CAST(:blocks AS jsonb))
         AS b(number bigint, hash text, parent_hash text, timestamp timestamptz)
""")
# The head is as old as it claims or as we have known it, whichever is older: a node may stand still, and one
# that catches up shows new blocks that are old.
_SEEN: Final = text("""
    INSERT INTO payment_source AS s (name, polled_at, head_at, block_time_s, seen_ok_at, last_error)
    VALUES (:name, CASE WHEN :complete THEN CAST(:began AS timestamptz) END,
            least(clock_timestamp(), CAST(:claimed AS timestamptz)), :block_time_s, clock_timestamp(), NULL)
    ON CONFLICT (name) DO UPDATE
    SET polled_at = coalesce(excluded.polled_at, s.polled_at),
        head_at = CASE WHEN :is_new_head OR s.head_at IS NULL THEN excluded.head_at ELSE s.head_at END,
        block_time_s = coalesce(excluded.block_time_s, s.block_time_s),
        seen_ok_at = excluded.seen_ok_at, last_error = NULL
""")
_UNSEEN: Final = text("""
    INSERT INTO payment_source AS s (name, last_error) VALUES (:name, :error)
    ON CONFLICT (name) DO UPDATE SET last_error = excluded.last_error
""")
_BLOCK_TIME: Final = text("""
    SELECT extract(epoch FROM max(timestamp) - min(timestamp)) / nullif(max(number) - min(number), 0)
    FROM (SELECT number, timestamp FROM chain_block WHERE chain = :chain ORDER BY number DESC LIMIT 64) b
""")


def recall(session: Session, chain: str) -> Memory | None:
    """What is remembered; None when the chain was never looked at."""
    cursor = session.execute(_READ, {"chain": chain}).first()
    if cursor is None:
        return None
    ring = {row.number: row.hash for row in session.execute(_RING, {"chain": chain})}
    return Memory(cursor.next_block, cursor.head_block, cursor.version, ring)


def watched(session: Session, chain: str, configured: Sequence[str]) -> list[str]:
    """The addresses to look for, in lower case."""
    quoted = session.scalars(_ADDRESSES, {"chain": chain})
    return sorted({address.lower() for address in configured} | set(quoted))


def domain_now(session: Session) -> datetime:
    """Domain time of this transaction."""
    found: datetime = session.execute(_NOW).scalar_one()
    return found


def advance(session: Session, chain: str, memory: Memory | None, sight: Sight) -> bool:
    """Remember what was read; False when another watcher was faster, and then nothing may be written."""
    place = {"chain": chain, "next": sight.last + 1, "head": sight.head.number}
    if memory is None:
        moved = session.execute(_BEGIN, place).first()
    else:
        moved = session.execute(_MOVE, {**place, "version": memory.version}).first()
    if moved is None:
        return False
    fork = sight.fork if sight.fork is not None else -1
    session.execute(_FORGET, {"chain": chain, "fork": fork, "oldest": sight.last - RING})
    blocks = [
        {
            "number": header.number,
            "hash": header.hash,
            "parent_hash": header.parent_hash,
            "timestamp": header.timestamp.isoformat(),
        }
        for header in sight.headers
    ]
    session.execute(_REMEMBER, {"chain": chain, "blocks": json.dumps(blocks)})
    return True


def note_seen(session: Session, chain: str, memory: Memory | None, sight: Sight, *, began: datetime) -> None:
    """Expiry may rely on this look: it began at `began`, and showed a head of this age."""
    is_new = memory is None or memory.ring.get(sight.head.number) != sight.head.hash
    block_time = session.execute(_BLOCK_TIME, {"chain": chain}).scalar() if is_new else None
    session.execute(
        _SEEN,
        {
            "name": f"chain:{chain}",
            "complete": sight.complete,
            "began": began,
            "claimed": sight.head.timestamp,
            "is_new_head": is_new,
            "block_time_s": float(block_time) if block_time is not None else None,
        },
    )


def note_unseen(session: Session, chain: str, error: str) -> None:
    """The chain could not be looked at, and why."""
    session.execute(_UNSEEN, {"name": f"chain:{chain}", "error": error})
