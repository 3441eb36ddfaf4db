"""Webhooks out: who is told, what is told to whom, and how far the log was read for it."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    LargeBinary,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from tenure.model.base import Base, CreatedAt, IdText, Key


class WebhookEndpoint(Base):
    """A URL of somebody else that is told of events."""

    __tablename__ = "webhook_endpoint"

    id: Mapped[Key]
    url: Mapped[str]
    # Names and patterns of event types, such as `subscription.*`.
    types: Mapped[list[str]] = mapped_column(ARRAY(Text()))
    # Encrypted; the key is derived from TENURE_SECRET_KEY.
    secret_sealed: Mapped[bytes] = mapped_column(LargeBinary())
    # The secret before the last change, and until when messages are signed with it as well.
    previous_sealed: Mapped[bytes | None] = mapped_column(LargeBinary())
    previous_until: Mapped[datetime | None]
    # Drawn from the numbers of events: what was written before is not told to this endpoint.
    after_n: Mapped[int] = mapped_column(BigInteger)
    # Tries that failed since the last one that did not.
    failures: Mapped[int] = mapped_column(server_default=text("0"))
    created_at: Mapped[CreatedAt]
    disabled_at: Mapped[datetime | None]
    disabled_reason: Mapped[str | None]

    __table_args__ = (
        CheckConstraint("(disabled_at IS NULL) = (disabled_reason IS NULL)", name="disabled_whole"),
        CheckConstraint("cardinality(types) > 0", name="types"),
        CheckConstraint("(previous_sealed IS NULL) = (previous_until IS NULL)", name="previous_whole"),
    )


class WebhookDelivery(Base):
    """One event on its way to one endpoint; the unique key is what makes it one."""

    __tablename__ = "webhook_delivery"

    id: Mapped[Key]
    endpoint_id: Mapped[str] = mapped_column(IdText, ForeignKey("webhook_endpoint.id", ondelete="CASCADE"))
    event_id: Mapped[str] = mapped_column(IdText, ForeignKey("event.id", ondelete="CASCADE"), index=True)
    # As it is told: an `iteration.ended` that was not ok is told as `iteration.failed`.
    type: Mapped[str]
    state: Mapped[str] = mapped_column(server_default="pending")
    attempts: Mapped[int] = mapped_column(server_default=text("0"))
    replays: Mapped[int] = mapped_column(server_default=text("0"))
    last_status: Mapped[int | None]
    last_error: Mapped[str | None]
    next_at: Mapped[datetime | None]
    delivered_at: Mapped[datetime | None]
    created_at: Mapped[CreatedAt]

    __table_args__ = (
        UniqueConstraint("endpoint_id", "event_id", name="uq_webhook_delivery_once"),
        CheckConstraint("state IN ('pending', 'delivered', 'failed', 'dead')", name="state"),
        CheckConstraint("state <> 'delivered' OR delivered_at IS NOT NULL", name="delivered_at"),
        Index("ix_webhook_delivery_endpoint_id", "endpoint_id", "id"),
        Index("ix_webhook_delivery_state", "state", "id"),
    )


class WebhookCursor(Base):
    """How far the ordered log was read for webhooks; one row."""

    __tablename__ = "webhook_cursor"

    one: Mapped[bool] = mapped_column(primary_key=True, server_default=text("true"))
    seq: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))

    __table_args__ = (CheckConstraint("one", name="one_row"),)
