"""Who may act: users, API keys, sessions in a browser, and the answers kept for repeated requests."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, func, text
from sqlalchemy.orm import Mapped, mapped_column

from tenure.model.base import Base, CreatedAt, IdText, Key

ROLES = "'admin', 'operator', 'viewer'"


class AppUser(Base):
    """A person who signs in. After failures `not_before` delays the next try; nobody is locked out."""

    __tablename__ = "app_user"

    id: Mapped[Key]
    email: Mapped[str]
    password_hash: Mapped[str]
    role: Mapped[str]
    failures: Mapped[int] = mapped_column(server_default=text("0"))
    not_before: Mapped[datetime | None]
    created_at: Mapped[CreatedAt]
    last_login_at: Mapped[datetime | None]
    disabled_at: Mapped[datetime | None]

    __table_args__ = (CheckConstraint(f"role IN ({ROLES})", name="role"),)


Index("uq_app_user_email", func.lower(AppUser.email), unique=True)


class ApiKey(Base):
    """A key for programs: only its SHA-256 is kept; `prefix` lets people recognize it."""

    __tablename__ = "api_key"

    id: Mapped[Key]
    name: Mapped[str]
    key_hash: Mapped[str] = mapped_column(unique=True)
    prefix: Mapped[str]
    role: Mapped[str]
    created_by: Mapped[str]
    created_at: Mapped[CreatedAt]
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]

    __table_args__ = (CheckConstraint(f"role IN ({ROLES})", name="role"),)


class LoginSession(Base):
    """A sign-in. Its refresh token derives from the signing key, this id and `generation`; none is kept."""

    __tablename__ = "session"

    id: Mapped[Key]
    user_id: Mapped[str] = mapped_column(IdText, ForeignKey("app_user.id", ondelete="CASCADE"), index=True)
    generation: Mapped[int] = mapped_column(server_default=text("1"))
    created_at: Mapped[CreatedAt]
    rotated_at: Mapped[CreatedAt]
    expires_at: Mapped[datetime]
    user_agent: Mapped[str | None]
    address: Mapped[str | None]
    revoked_at: Mapped[datetime | None]
    revoke_reason: Mapped[str | None]


class IdempotencyKey(Base):
    """The answer to a request, kept so that its repeat gets the same one. `status` null: still under way."""

    __tablename__ = "idempotency_key"

    actor: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    request_hash: Mapped[str]
    status: Mapped[int | None]
    response: Mapped[str | None]
    created_at: Mapped[CreatedAt]
    expires_at: Mapped[datetime] = mapped_column(index=True)
