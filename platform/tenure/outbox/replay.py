"""Send a message again that is dead, unknown or done; put away what waits for a receiver that is gone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from tenure.errors import Conflict
from tenure.outbox.append import NewMessage, append
from tenure.outbox.topics import Topic

_REPLAY: Final = text("""
    UPDATE outbox
    SET state = 'ready', attempts = 0, available_at = clock_timestamp(), locked_until = NULL,
        lock_token = NULL, done_at = NULL
    WHERE dedupe_key = :dedupe_key
      AND (state <> 'ready' OR locked_until IS NULL OR locked_until < clock_timestamp())
    RETURNING id
""")
_EXISTS: Final = text("SELECT 1 FROM outbox WHERE dedupe_key = :dedupe_key")

_FREE: Final = """
    WITH free AS (
        SELECT id FROM outbox
        WHERE topic = :topic AND state = 'ready' AND payload->>'to' = :to
          AND (locked_until IS NULL OR locked_until < clock_timestamp())
        FOR UPDATE SKIP LOCKED
    )
"""
_BURY: Final = text(f"""{_FREE}
    UPDATE outbox o SET state = 'dead', last_error = :error, lock_token = NULL, locked_until = NULL
    FROM free WHERE o.id = free.id
    RETURNING o.payload
""")
_DISCARD: Final = text(f"{_FREE} DELETE FROM outbox o USING free WHERE o.id = free.id")


def replay(session: Session, topic: Topic, message: NewMessage) -> None:
    """The message is due now, with all its tries before it, whatever became of it.

    Raises Conflict `in_progress` while somebody tries it at this moment.
    """
    if session.execute(_REPLAY, {"dedupe_key": message.dedupe_key}).first() is not None:
        return
    if session.execute(_EXISTS, {"dedupe_key": message.dedupe_key}).first() is not None:
        raise Conflict("a try is under way at this moment", code="in_progress")
    append(session, topic, [message])  # the done row was cleaned away


def bury(session: Session, topic: Topic, *, to: str, error: str) -> list[Mapping[str, Any]]:
    """Make everything that waits for this receiver a dead letter and return the payloads.

    What is being tried at this moment stays with its claimer.
    """
    return [row.payload for row in session.execute(_BURY, {"topic": topic.name, "to": to, "error": error})]


def discard(session: Session, topic: Topic, *, to: str) -> None:
    """Remove everything that waits for a receiver that does not exist any more."""
    session.execute(_DISCARD, {"topic": topic.name, "to": to})
