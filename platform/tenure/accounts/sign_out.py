"""Sign out: end the session that a refresh token belongs to."""

from __future__ import annotations

from tenure.accounts.refresh import revoke_session
from tenure.accounts.tokens import Tokens
from tenure.kit.db import Database


def sign_out(db: Database, tokens: Tokens, refresh_token: str) -> str:
    """End the session and return its id; one that is over already stays over.

    Raises Unauthenticated for a token that we did not make.
    """
    session_id, _generation = tokens.read_refresh(refresh_token)
    with db.transaction() as session:
        revoke_session(session, session_id, reason="signed out")
    return session_id
