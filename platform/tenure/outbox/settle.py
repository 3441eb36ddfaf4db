"""Write down what became of a claimed message: only where the claimer's token still fits."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from tenure.errors import BrokenRule
from tenure.outbox.claim import Claimed
from tenure.outbox.topics import Promise

_LONGEST_ERROR: Final = 300

_SETTLE: Final = text("""
    UPDATE outbox
    SET state = :state, last_error = :error, lock_token = NULL, locked_until = NULL,
        available_at = clock_timestamp() + make_interval(secs => :pause_s),
        done_at = CASE WHEN :state = 'done' THEN clock_timestamp() END
    WHERE id = :id AND lock_token = :token AND state = 'ready'
    RETURNING available_at
""")

_UNCOUNT: Final = text("UPDATE outbox SET attempts = greatest(attempts - 1, 0) WHERE id = :id")


@dataclass(frozen=True, slots=True)
class Failed:
    """A failed try. `next_at` is when it is tried again; None: it is a dead letter."""

    next_at: datetime | None


def acknowledge(session: Session, claimed: Claimed) -> bool:
    """Done. False: the lease ran out and somebody else has the message; then nothing changes."""
    return _settle(session, claimed, state="done") is not None


def fail(
    session: Session, claimed: Claimed, *, error: str, at_least_s: float | None = None, final: bool = False
) -> Failed | None:
    """It was not taken: try again later, or bury it when the tries are used up or `final` says so.

    `at_least_s` is the other side's wish. None: the lease ran out and somebody else has the message. At most
    once, this is only for what was certainly not taken.
    """
    pause = None if final else claimed.topic.pause_s(claimed.attempt, at_least_s=at_least_s)
    if pause is None:
        return None if _settle(session, claimed, state="dead", error=error) is None else Failed(None)
    available_at = _settle(session, claimed, state="ready", error=error, pause_s=pause)
    return None if available_at is None else Failed(available_at)


def put_back(session: Session, claimed: Claimed, *, reason: str, pause_s: float) -> datetime | None:
    """Nobody was called: the message waits as if it had not been claimed, and when it is due again.

    None: the lease ran out and somebody else has the message.
    """
    available_at = _settle(session, claimed, state="ready", error=reason, pause_s=pause_s)
    if available_at is not None:
        session.execute(_UNCOUNT, {"id": claimed.id})
    return available_at


def leave_unknown(session: Session, claimed: Claimed, *, error: str) -> bool:
    """Nobody knows whether it was taken; a person decides. Only at most once."""
    if claimed.topic.promise is not Promise.AT_MOST_ONCE:
        raise BrokenRule(f"{claimed.topic.name} is told at least once: what is unknown is sent again")
    return _settle(session, claimed, state="unknown", error=error) is not None


def _settle(
    session: Session, claimed: Claimed, *, state: str, error: str | None = None, pause_s: float = 0.0
) -> datetime | None:
    values: dict[str, Any] = {
        "id": claimed.id,
        "token": claimed.lock_token,
        "state": state,
        # The other side's words may hold what PostgreSQL cannot.
        "error": error.replace("\x00", "")[:_LONGEST_ERROR] if error is not None else None,
        "pause_s": pause_s,
    }
    found: datetime | None = session.execute(_SETTLE, values).scalar()
    return found
