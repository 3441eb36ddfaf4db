"""Holds: reasons to keep an expiry back, counted on the row that the expiry locks."""

from __future__ import annotations

from typing import Final

from sqlalchemy import TextClause, text
from sqlalchemy.orm import Session

from tenure.subscriptions.row import lock

_PLACE: Final = text("""
    WITH placed AS (
        INSERT INTO hold (subscription_id, kind, ref) VALUES (:id, :kind, :ref)
        ON CONFLICT DO NOTHING RETURNING 1
    )
    UPDATE subscription SET holds = holds + 1, updated_at = clock_timestamp()
    WHERE id = :id AND EXISTS (SELECT 1 FROM placed) RETURNING id
""")

_RELEASE: Final = text("""
    WITH released AS (
        DELETE FROM hold WHERE subscription_id = :id AND kind = :kind AND ref = :ref RETURNING 1
    )
    UPDATE subscription SET holds = holds - 1, updated_at = clock_timestamp()
    WHERE id = :id AND EXISTS (SELECT 1 FROM released) RETURNING id
""")


def place_hold(session: Session, subscription_id: str, kind: str, ref: str) -> bool:
    """The hold stands; whether it is new. It keeps back any expiry that has not committed yet."""
    return _changed(session, _PLACE, subscription_id, kind, ref)


def release_hold(session: Session, subscription_id: str, kind: str, ref: str) -> bool:
    """The hold is gone; whether it stood."""
    return _changed(session, _RELEASE, subscription_id, kind, ref)


def _changed(session: Session, statement: TextClause, subscription_id: str, kind: str, ref: str) -> bool:
    # The lock comes first, so that two who place or release the same hold take turns.
    lock(session, subscription_id)
    row = session.execute(statement, {"id": subscription_id, "kind": kind, "ref": ref})
    return row.first() is not None
