"""Users: create, list, change, disable. There is always an admin left."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from tenure.accounts import passwords
from tenure.accounts.principal import Role
from tenure.errors import Conflict, Invalid, NotFound
from tenure.kit.db import Database
from tenure.kit.ids import new_id
from tenure.kit.times import rfc3339
from tenure.model.account import AppUser

_EMAIL: Final = re.compile(r"[^@\s<>\"',;]{1,64}@[^@\s<>\"',;.][^@\s<>\"',;]{0,188}")
# Changes that could take the last admin away take turns.
LOCK: Final = "SELECT pg_advisory_xact_lock(7305809)"
_ADMINS_LOCK: Final = text(LOCK)
_REVOKE_ALL: Final = text("""
    UPDATE session SET revoked_at = clock_timestamp(), revoke_reason = :reason
    WHERE user_id = :user_id AND revoked_at IS NULL
""")
FIRST_ADMIN: Final = "admin@tenure.localhost"


@dataclass(frozen=True, slots=True)
class UserChange:
    """What to change of a user; None leaves it. `password_hash` comes from passwords.hashed()."""

    role: Role | None = None
    disabled: bool | None = None
    password_hash: str | None = None


def shown(user: AppUser) -> dict[str, Any]:
    """A user as the API shows it."""
    return {
        "id": user.id,
        "email": user.email,
        "role": user.role,
        "created_at": rfc3339(user.created_at),
        "last_login_at": rfc3339(user.last_login_at),
        "disabled_at": rfc3339(user.disabled_at),
    }


def create_user(session: Session, *, email: str, password_hash: str, role: Role) -> dict[str, Any]:
    """Add a user. Raises Invalid for a bad address, Conflict `email_taken` when it has an account."""
    email = email.strip()
    if not _EMAIL.fullmatch(email):
        raise Invalid.field("email", "email", "this is not an e-mail address")
    user = AppUser(id=new_id("usr"), email=email, password_hash=password_hash, role=role.value)
    try:
        with session.begin_nested():
            session.add(user)
            session.flush()
    except IntegrityError as error:
        raise Conflict("a user with this e-mail exists", code="email_taken") from error
    session.refresh(user)
    return shown(user)


def list_users(
    session: Session, *, limit: int, cursor: str | None
) -> tuple[list[dict[str, Any]], str | None]:
    """A page of users, newest first, and the cursor of the next."""
    query = select(AppUser).order_by(AppUser.id.desc()).limit(limit + 1)
    if cursor:
        query = query.where(AppUser.id < cursor)
    users = list(session.scalars(query))
    return [shown(user) for user in users[:limit]], users[limit - 1].id if len(users) > limit else None


def get_user(session: Session, user_id: str) -> dict[str, Any]:
    """One user. Raises NotFound."""
    user = session.get(AppUser, user_id)
    if user is None:
        raise NotFound
    return shown(user)


def change_user(session: Session, user_id: str, change: UserChange) -> tuple[dict[str, Any], dict[str, Any]]:
    """Apply the change and return the user before and after.

    A new role, password or a disabling ends all of the user's sessions. Raises NotFound, or Conflict
    `last_admin` when no admin would be left.
    """
    session.execute(_ADMINS_LOCK)
    user = session.get(AppUser, user_id)
    if user is None:
        raise NotFound
    before = shown(user)
    if change.role is not None:
        user.role = change.role.value
    if change.disabled is not None:
        now = session.execute(text("SELECT clock_timestamp()")).scalar_one()
        user.disabled_at = (user.disabled_at or now) if change.disabled else None
    if change.password_hash is not None:
        user.password_hash, user.failures, user.not_before = change.password_hash, 0, None
    session.flush()
    if not _has_admin(session):
        raise Conflict("no admin would be left", code="last_admin")
    session.execute(_REVOKE_ALL, {"user_id": user_id, "reason": "the account was changed"})
    return before, shown(user)


def ensure_first_admin(db: Database) -> tuple[str, str] | None:
    """Create the first admin when there is no user at all: its e-mail and password, to be shown once."""
    password = passwords.generated()
    password_hash = passwords.hashed(password)
    with db.transaction() as session:
        session.execute(_ADMINS_LOCK)
        if session.scalars(select(AppUser.id).limit(1)).first() is not None:
            return None
        create_user(session, email=FIRST_ADMIN, password_hash=password_hash, role=Role.ADMIN)
    return FIRST_ADMIN, password


def _has_admin(session: Session) -> bool:
    query = select(AppUser.id).where(AppUser.role == Role.ADMIN.value, AppUser.disabled_at.is_(None)).limit(1)
    return session.scalars(query).first() is not None
