"""Sessions: the list of a user's sign-ins, and ending one of them."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from tenure.accounts.refresh import revoke_session
from tenure.errors import NotFound
from tenure.kit.times import rfc3339

_LIST: Final = text("""
    SELECT id, created_at, rotated_at, expires_at, user_agent, address FROM session
    WHERE user_id = :user_id AND revoked_at IS NULL AND expires_at > clock_timestamp()
    ORDER BY id DESC LIMIT 200
""")
_OWNER: Final = text("SELECT user_id FROM session WHERE id = :id")


def sessions_of(session: Session, user_id: str, *, current: str | None) -> list[dict[str, Any]]:
    """The user's open sessions, newest first; `current` marks the one that asks."""
    return [
        {
            "id": row["id"],
            "created_at": rfc3339(row["created_at"]),
            "last_used_at": rfc3339(row["rotated_at"]),
            "expires_at": rfc3339(row["expires_at"]),
            "user_agent": row["user_agent"],
            "address": row["address"],
            "current": row["id"] == current,
        }
        for row in session.execute(_LIST, {"user_id": user_id}).mappings()
    ]


def end_session(session: Session, session_id: str, *, user_id: str) -> None:
    """End one of this user's sessions. Raises NotFound for one that is not theirs."""
    if session.execute(_OWNER, {"id": session_id}).scalar() != user_id:
        raise NotFound
    revoke_session(session, session_id, reason="ended by its user")
