"""Authenticate: turn a credential into a principal, by what the record says now.

Every request asks the database, so a revoked key, an ended session, a disabled user and a changed role
take effect at once.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import replace
from typing import Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from tenure.accounts.api_keys import PREFIX, key_hash
from tenure.accounts.principal import Principal, Role
from tenure.accounts.tokens import AccessClaims, Tokens
from tenure.errors import Unauthenticated
from tenure.kit.db import Database

_KEY: Final = text("""
    SELECT id, name, role, coalesce(last_used_at < clock_timestamp() - interval '1 minute', true) AS stale
    FROM api_key WHERE key_hash = :hash AND revoked_at IS NULL
""")
_USED: Final = text("UPDATE api_key SET last_used_at = clock_timestamp() WHERE id = :id")
_SESSION: Final = text("""
    SELECT u.id, u.email, u.role, :expires_at > extract(epoch FROM clock_timestamp()) AS fresh
    FROM session s JOIN app_user u ON u.id = s.user_id
    WHERE s.id = :session_id AND u.id = :user_id AND s.revoked_at IS NULL
      AND s.expires_at > clock_timestamp() AND u.disabled_at IS NULL
""")
_CURRENT: Final = {
    "key": text("SELECT role FROM api_key WHERE id = :id AND revoked_at IS NULL"),
    "user": text("""
        SELECT u.role FROM session s JOIN app_user u ON u.id = s.user_id
        WHERE s.id = :session_id AND u.id = :id AND s.revoked_at IS NULL
          AND s.expires_at > clock_timestamp() AND u.disabled_at IS NULL
    """),
}
_STANDING: Final = text("""
    SELECT id, role FROM api_key WHERE id = ANY(:ids) AND revoked_at IS NULL
    UNION ALL
    SELECT s.id, u.role FROM session s JOIN app_user u ON u.id = s.user_id
    WHERE s.id = ANY(:ids) AND s.revoked_at IS NULL AND s.expires_at > clock_timestamp()
      AND u.disabled_at IS NULL
""")
_COOKIE: Final = text("""
    SELECT u.id, u.email, u.role, extract(epoch FROM s.expires_at)::bigint AS expires_at
    FROM session s JOIN app_user u ON u.id = s.user_id
    WHERE s.id = :session_id AND s.revoked_at IS NULL AND s.expires_at > clock_timestamp()
      AND u.disabled_at IS NULL
      AND (s.generation = :generation
           OR s.generation = :generation + 1 AND s.rotated_at > clock_timestamp() - interval '10 seconds')
""")


def authenticate(db: Database, tokens: Tokens, credential: str) -> Principal:
    """The principal of an access token or an API key. Raises Unauthenticated."""
    if credential.startswith(PREFIX):
        with db.transaction() as session:
            return _by_key(session, credential)
    claims = tokens.read_access(credential)
    with db.transaction() as session:
        return _by_access(session, claims)


def authenticate_cookie(db: Database, tokens: Tokens, refresh_token: str) -> Principal:
    """The principal of a refresh token, without using it up. Raises Unauthenticated.

    Only the few places where a browser can send nothing but a cookie may call this.
    """
    session_id, generation = tokens.read_refresh(refresh_token)
    with db.transaction() as session:
        row = (
            session.execute(_COOKIE, {"session_id": session_id, "generation": generation}).mappings().first()
        )
    if row is None:
        raise Unauthenticated("the session is over: sign in again", code="session_over")
    return Principal("user", row["id"], Role(row["role"]), row["email"], session_id, row["expires_at"])


def confirm(db: Database, principal: Principal) -> Principal:
    """The same principal as the record has it now. Raises Unauthenticated when it has ended meanwhile."""
    with db.transaction() as session:
        values = {"id": principal.id, "session_id": principal.session_id}
        row = session.execute(_CURRENT[principal.kind], values).mappings().first()
    if row is None:
        raise Unauthenticated("the session is over: sign in again", code="session_over")
    return replace(principal, role=Role(row["role"]))


def fallen(db: Database, principals: Set[Principal]) -> set[Principal]:
    """Those of these whose key or session has ended, or whose role is another now; one look for all."""
    with db.transaction() as session:
        rows = session.execute(_STANDING, {"ids": [_credential(each) for each in principals]})
        standing = {row.id: row.role for row in rows}
    return {each for each in principals if standing.get(_credential(each)) != each.role}


def _credential(principal: Principal) -> str:
    return principal.session_id or principal.id


def _by_key(session: Session, key: str) -> Principal:
    row = session.execute(_KEY, {"hash": key_hash(key)}).mappings().first()
    if row is None:
        raise Unauthenticated("the API key is not valid", code="bad_token")
    if row["stale"]:
        session.execute(_USED, {"id": row["id"]})
    return Principal("key", row["id"], Role(row["role"]), row["name"])


def _by_access(session: Session, claims: AccessClaims) -> Principal:
    row = (
        session.execute(
            _SESSION,
            {
                "session_id": claims.session_id,
                "user_id": claims.user_id,
                "expires_at": claims.expires_at,
            },
        )
        .mappings()
        .first()
    )
    if row is None:
        raise Unauthenticated("the session is over: sign in again", code="session_over")
    if not row["fresh"]:
        raise Unauthenticated("the token has expired", code="token_expired")
    return Principal("user", row["id"], Role(row["role"]), row["email"], claims.session_id, claims.expires_at)
