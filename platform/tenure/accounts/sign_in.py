"""Sign in with e-mail and password: read, check outside any transaction, write.

Failures delay the next try on the account and never lock it. While a delay runs, a right password is refused
like a wrong one, also when it was being checked as the delay began: guesses side by side gain nothing. A
browser that holds a session of this user is not delayed, so nobody can be kept out of their own by others'
guesses; it is still limited by its address.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import text

from tenure.accounts import passwords
from tenure.accounts.tokens import Tokens
from tenure.errors import Unauthenticated
from tenure.kit.db import Database
from tenure.kit.ids import new_id

SESSION_DAYS: Final = 14
# One answer for an unknown address, a wrong password, a disabled user, and a try that came too early.
WRONG: Final = "e-mail or password is wrong; after several failures, wait before the next try"

_READ: Final = text("""
    SELECT id, email, role, password_hash, disabled_at IS NULL AS enabled,
           coalesce(not_before > clock_timestamp(), false) AS delayed,
           EXISTS (SELECT 1 FROM session s WHERE s.id = CAST(:device AS text) AND s.user_id = app_user.id
                     AND s.revoked_at IS NULL AND s.expires_at > clock_timestamp()) AS is_known
    FROM app_user WHERE lower(email) = lower(:email)
""")
# The first four failures are free; then 1, 2, 4 ... 300 seconds. Nobody is locked out for good.
_FAILED: Final = text("""
    UPDATE app_user SET failures = failures + 1,
        not_before = CASE WHEN failures + 1 < 5 THEN NULL
                     ELSE clock_timestamp() + least(300, 2 ^ least(failures - 4, 9)) * interval '1 second' END
    WHERE id = :id
""")
_SUCCEEDED: Final = text("""
    UPDATE app_user SET failures = 0, not_before = NULL, last_login_at = clock_timestamp()
    WHERE id = :id AND disabled_at IS NULL
      AND (:is_known OR coalesce(not_before <= clock_timestamp(), true))
    RETURNING extract(epoch FROM clock_timestamp())::bigint AS now
""")
# Unless it was changed while this one was checked.
_STRONGER: Final = text(
    "UPDATE app_user SET password_hash = :after WHERE id = :id AND password_hash = :before"
)
_SESSION: Final = text("""
    INSERT INTO session (id, user_id, expires_at, user_agent, address)
    VALUES (:id, :user_id, clock_timestamp() + :days * interval '1 day', :user_agent, :address)
""")


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A fresh pair of tokens and whose they are."""

    access_token: str
    refresh_token: str
    user_id: str
    email: str
    role: str
    session_id: str


def sign_in(
    db: Database,
    tokens: Tokens,
    *,
    email: str,
    password: str,
    user_agent: str | None = None,
    address: str | None = None,
    device: str | None = None,
    matches: Callable[[str | None, str], bool] = passwords.matches,
    hashed_anew: Callable[[str, str], str | None] = passwords.hashed_anew,
) -> SignedIn:
    """Open a session. Raises Unauthenticated, with one answer for every reason.

    `device` is the session that the browser already holds, if it proved one. `matches` and `hashed_anew` are
    the slow parts: a server with an event loop hands in ones that run in a thread.
    """
    with db.transaction() as session:
        row = session.execute(_READ, {"email": email, "device": device}).mappings().first()
    found: dict[str, Any] | None = dict(row) if row is not None else None
    right = matches(found["password_hash"] if found else None, password)
    if found is None or not found["enabled"] or (found["delayed"] and not found["is_known"]):
        raise Unauthenticated(WRONG, code="bad_credentials")
    if not right:
        with db.transaction() as session:
            session.execute(_FAILED, {"id": found["id"]})
        raise Unauthenticated(WRONG, code="bad_credentials")
    session_id = new_id("ses")
    stronger = hashed_anew(found["password_hash"], password)
    with db.transaction() as session:
        now = session.execute(_SUCCEEDED, {"id": found["id"], "is_known": found["is_known"]}).scalar()
        if now is None:
            raise Unauthenticated(WRONG, code="bad_credentials")
        if stronger is not None:
            given = {"id": found["id"], "before": found["password_hash"], "after": stronger}
            session.execute(_STRONGER, given)
        session.execute(
            _SESSION,
            {
                "id": session_id,
                "user_id": found["id"],
                "days": SESSION_DAYS,
                "user_agent": (user_agent or "")[:200] or None,
                "address": address,
            },
        )
    return SignedIn(
        access_token=tokens.access(user_id=found["id"], session_id=session_id, now=now),
        refresh_token=tokens.refresh(session_id, 1),
        user_id=found["id"],
        email=found["email"],
        role=found["role"],
        session_id=session_id,
    )
