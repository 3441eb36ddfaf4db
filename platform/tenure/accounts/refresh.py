"""Refresh: trade a refresh token for its successor; a token used twice ends the session.

Two tabs may refresh at the same moment, and an answer may be lost: for ten seconds the predecessor still
gets the same successor. After that its reuse means that somebody else holds a copy.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import RowMapping, text
from sqlalchemy.orm import Session

from tenure.accounts.sign_in import SESSION_DAYS, SignedIn
from tenure.accounts.tokens import Tokens
from tenure.errors import Unauthenticated
from tenure.kit.db import Database

GRACE_S: Final = 10
REUSED: Final = "token_reused"
_OVER: Final = "the session is over: sign in again"

_READ: Final = text("""
    SELECT s.id, s.generation, u.id AS user_id, u.email, u.role,
           s.revoked_at IS NULL AND s.expires_at > clock_timestamp() AND u.disabled_at IS NULL AS alive,
           s.rotated_at > clock_timestamp() - :grace * interval '1 second' AS in_grace,
           extract(epoch FROM clock_timestamp())::bigint AS now
    FROM session s JOIN app_user u ON u.id = s.user_id WHERE s.id = :id FOR UPDATE OF s
""")
_ROTATE: Final = text("""
    UPDATE session SET generation = generation + 1, rotated_at = clock_timestamp(),
        expires_at = least(clock_timestamp() + :days * interval '1 day', created_at + interval '90 days')
    WHERE id = :id
""")
_REVOKE: Final = text("""
    UPDATE session SET revoked_at = clock_timestamp(), revoke_reason = :reason
    WHERE id = :id AND revoked_at IS NULL RETURNING id
""")


def refresh(db: Database, tokens: Tokens, refresh_token: str) -> SignedIn:
    """The next pair of tokens. Raises Unauthenticated when the session is over, or ends it on a reuse."""
    session_id, generation = tokens.read_refresh(refresh_token)
    with db.transaction() as session:
        row = session.execute(_READ, {"id": session_id, "grace": GRACE_S}).mappings().first()
        current = _step(session, row, generation) if row is not None and row["alive"] else None
    if row is None or not row["alive"]:
        raise Unauthenticated(_OVER, code="session_over")
    if current is None:
        raise Unauthenticated("this refresh token was used before: the session is closed", code=REUSED)
    return SignedIn(
        access_token=tokens.access(user_id=row["user_id"], session_id=session_id, now=row["now"]),
        refresh_token=tokens.refresh(session_id, current),
        user_id=row["user_id"],
        email=row["email"],
        role=row["role"],
        session_id=session_id,
    )


def _step(session: Session, row: RowMapping, presented: int) -> int | None:
    current: int = row["generation"]
    if presented == current:
        session.execute(_ROTATE, {"id": row["id"], "days": SESSION_DAYS})
        return current + 1
    if presented == current - 1 and row["in_grace"]:
        return current
    session.execute(_REVOKE, {"id": row["id"], "reason": "a refresh token was used twice"})
    return None


def revoke_session(session: Session, session_id: str, *, reason: str) -> bool:
    """End the session; False when it was over already."""
    done: Any = session.execute(_REVOKE, {"id": session_id, "reason": reason}).first()
    return done is not None
