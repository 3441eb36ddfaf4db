"""Notices: what a customer is told, once, on one channel."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, func, text
from sqlalchemy.dialects.postgresql import TIMESTAMP
from sqlalchemy.orm import Mapped, mapped_column

from tenure.model.base import Base, CreatedAt, IdText, JsonObject, Key

KINDS = (
    "'trial_started', 'trial_ending', 'period_ending', 'past_due', 'expired', 'payment_confirmed', "
    "'payment_problem'"
)
NOTICE_STATES = "'planned', 'sending', 'sent', 'unknown', 'skipped', 'failed'"


class Notice(Base):
    """One message on one channel; the unique key is what makes it one."""

    __tablename__ = "notice"

    id: Mapped[Key]
    subscription_id: Mapped[str] = mapped_column(IdText, ForeignKey("subscription.id", ondelete="CASCADE"))
    kind: Mapped[str]
    stage: Mapped[str] = mapped_column(server_default="")
    # What it is about: the period (with the number of moves of its end), a payment.
    ref: Mapped[str] = mapped_column(server_default="")
    channel: Mapped[str]
    state: Mapped[str] = mapped_column(server_default="planned")
    skipped_reason: Mapped[str | None]
    priority: Mapped[int] = mapped_column(server_default=text("2"))
    data: Mapped[JsonObject]
    # Domain time: when it became due, and from when it would be stale.
    planned_at: Mapped[datetime] = mapped_column(
        TIMESTAMP(timezone=True), server_default=text("tenure_now()")
    )
    not_after: Mapped[datetime | None]
    # Machine time of the next try.
    next_at: Mapped[datetime] = mapped_column(TIMESTAMP(timezone=True), server_default=func.clock_timestamp())
    attempts: Mapped[int] = mapped_column(server_default=text("0"))
    sent_at: Mapped[datetime | None]
    provider_message_id: Mapped[str | None]
    last_error: Mapped[str | None]
    # The iterations that planned it and that sent it.
    planned_by: Mapped[str | None] = mapped_column(IdText)
    sent_by: Mapped[str | None] = mapped_column(IdText)
    created_at: Mapped[CreatedAt]

    __table_args__ = (
        UniqueConstraint("subscription_id", "kind", "stage", "ref", "channel", name="uq_notice_once"),
        CheckConstraint(f"kind IN ({KINDS})", name="kind"),
        CheckConstraint("channel IN ('email', 'telegram', 'webhook')", name="channel"),
        CheckConstraint(f"state IN ({NOTICE_STATES})", name="state"),
        CheckConstraint("(state = 'skipped') = (skipped_reason IS NOT NULL)", name="skipped_has_reason"),
        CheckConstraint("(state = 'sent') = (sent_at IS NOT NULL)", name="sent_at"),
        Index("ix_notice_planned", "priority", "next_at", postgresql_where=text("state = 'planned'")),
        Index("ix_notice_sending", "sent_by", postgresql_where=text("state = 'sending'")),
        Index("ix_notice_unknown", "next_at", postgresql_where=text("state = 'unknown'")),
    )
