"""The gate: breakers that an operator forced, what the Telegram bot was sent, and the signing keys."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, Index, LargeBinary, text
from sqlalchemy.dialects.postgresql import BYTEA
from sqlalchemy.orm import Mapped, mapped_column

from tenure.model.base import Base, CreatedAt, Key


class BreakerOverride(Base):
    """What an operator decided about one integration's breaker; it holds until its moment (machine time)."""

    __tablename__ = "breaker_override"

    name: Mapped[str] = mapped_column(primary_key=True)
    state: Mapped[str]
    until: Mapped[datetime]
    reason: Mapped[str]
    set_by: Mapped[str]
    set_at: Mapped[CreatedAt]

    __table_args__ = (CheckConstraint("state IN ('open', 'closed')", name="state"),)


class TelegramUpdate(Base):
    """One update of the bot as it came; Telegram's own number makes a repeat harmless."""

    __tablename__ = "telegram_update"

    update_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    # The update's one field beside its number: `message`, `my_chat_member` and so on.
    kind: Mapped[str]
    body: Mapped[bytes] = mapped_column(BYTEA())
    received_at: Mapped[CreatedAt]
    processed_at: Mapped[datetime | None]
    result: Mapped[str | None]

    __table_args__ = (
        CheckConstraint("result IN ('blocked', 'unblocked', 'ignored', 'unusable')", name="result"),
        CheckConstraint("(processed_at IS NULL) = (result IS NULL)", name="processed_whole"),
        Index("ix_telegram_update_waiting", "update_id", postgresql_where=text("processed_at IS NULL")),
    )


class SigningKey(Base):
    """One key of the ring, sealed under TENURE_SECRET_KEY; without `sealed` it is derived from that one."""

    __tablename__ = "signing_key"

    kid: Mapped[Key]
    sealed: Mapped[bytes | None] = mapped_column(LargeBinary())
    created_at: Mapped[CreatedAt]
    retired_at: Mapped[datetime | None]

    __table_args__ = (
        Index(
            "uq_signing_key_current",
            text("(retired_at IS NULL)"),
            unique=True,
            postgresql_where=text("retired_at IS NULL"),
        ),
    )
