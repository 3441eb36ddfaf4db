"""Subscriptions with everything that forbids their expiry, holds, and what payments can be seen from."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, Computed, ForeignKey, Index, text
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP
from sqlalchemy.orm import Mapped, mapped_column

from tenure.model.base import Base, CreatedAt, IdText, Key

STATUSES = "'incomplete', 'trialing', 'active', 'past_due', 'paused', 'canceled', 'expired'"
# Access is on in these, and a due moment can come in these only.
LIVE = "'trialing', 'active', 'past_due'"


class Subscription(Base):
    """One customer's subscription to one plan.

    The current period is `period_start..period_end` with number `period_no` (0: none yet, or the trial;
    1: the first paid one). A payment pays period number `period_no + paid_periods + 1`.
    """

    __tablename__ = "subscription"

    id: Mapped[Key]
    customer_id: Mapped[str] = mapped_column(IdText, ForeignKey("customer.id"))
    plan_code: Mapped[str] = mapped_column(ForeignKey("plan.code"))
    # The plan as it was when this was sold, in the shape of the API.
    plan_snapshot: Mapped[dict[str, Any]] = mapped_column(JSONB())
    grace_hours: Mapped[int] = mapped_column(server_default=text("0"))
    status: Mapped[str] = mapped_column(server_default="incomplete")
    # Whether the current period is (or was) a trial.
    is_trial: Mapped[bool] = mapped_column(server_default=text("false"))
    # period_end = anchor_at + anchor_no intervals, clamped, in the customer's zone. Extending and resuming
    # set the anchor anew, at the end they make.
    anchor_at: Mapped[datetime | None]
    anchor_no: Mapped[int] = mapped_column(server_default=text("0"))
    period_no: Mapped[int] = mapped_column(server_default=text("0"))
    # How often the end of this very period was moved: a moved end is announced again.
    end_moves: Mapped[int] = mapped_column(server_default=text("0"))
    period_start: Mapped[datetime | None]
    period_end: Mapped[datetime | None]
    grace_until: Mapped[datetime | None]
    access_until: Mapped[datetime | None] = mapped_column(
        TIMESTAMP(timezone=True),
        Computed("CASE WHEN cancel_at_period_end THEN period_end ELSE grace_until END", persisted=True),
    )
    cancel_at_period_end: Mapped[bool] = mapped_column(server_default=text("false"))
    auto_renew: Mapped[bool] = mapped_column(server_default=text("false"))
    # Periods that were paid during the trial and begin when it ends.
    paid_periods: Mapped[int] = mapped_column(server_default=text("0"))
    paused_at: Mapped[datetime | None]
    paused_from: Mapped[str | None]
    # When it was canceled or expired, domain time.
    ended_at: Mapped[datetime | None]
    # Guards of the expiry: they sit on the row that the expiry locks.
    holds: Mapped[int] = mapped_column(server_default=text("0"))
    payable_until: Mapped[datetime | None]
    payable_source: Mapped[str | None]
    # When the next stage of the plan's reminders has to be looked at; null when none is left.
    remind_at: Mapped[datetime | None]
    version: Mapped[int] = mapped_column(server_default=text("1"))
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[CreatedAt]

    __table_args__ = (
        CheckConstraint(f"status IN ({STATUSES})", name="status"),
        CheckConstraint("status IN ('incomplete', 'canceled') OR period_end IS NOT NULL", name="has_period"),
        CheckConstraint(
            "(period_end IS NULL) = (period_start IS NULL) AND (period_end IS NULL) = (grace_until IS NULL)",
            name="period_whole",
        ),
        CheckConstraint("period_start <= period_end AND period_end <= grace_until", name="period_order"),
        CheckConstraint("status <> 'trialing' OR is_trial", name="trialing_is_trial"),
        CheckConstraint("(status = 'paused') = (paused_at IS NOT NULL)", name="paused_at"),
        CheckConstraint("(status = 'paused') = (paused_from IS NOT NULL)", name="paused_from"),
        CheckConstraint("holds >= 0", name="holds"),
        CheckConstraint("paid_periods >= 0", name="paid_periods"),
        Index("ix_subscription_customer_id", "customer_id", "id"),
        Index("ix_subscription_status", "status", "id"),
        Index(
            "ix_subscription_period_due",
            "period_end",
            postgresql_where=text("status IN ('trialing', 'active')"),
        ),
        Index("ix_subscription_access_due", "access_until", postgresql_where=text(f"status IN ({LIVE})")),
        Index(
            "ix_subscription_remind_period",
            "remind_at",
            postgresql_where=text("remind_at IS NOT NULL AND NOT is_trial"),
        ),
        Index(
            "ix_subscription_remind_trial",
            "remind_at",
            postgresql_where=text("remind_at IS NOT NULL AND is_trial"),
        ),
    )


class Hold(Base):
    """One reason to keep a subscription's expiry back; `subscription.holds` counts them."""

    __tablename__ = "hold"

    subscription_id: Mapped[str] = mapped_column(
        IdText, ForeignKey("subscription.id", ondelete="CASCADE"), primary_key=True
    )
    kind: Mapped[str] = mapped_column(primary_key=True)
    ref: Mapped[str] = mapped_column(primary_key=True)
    created_at: Mapped[CreatedAt]

    __table_args__ = (
        CheckConstraint("kind IN ('payment_in_flight', 'fraud', 'manual', 'reversal')", name="kind"),
    )


class PaymentSource(Base):
    """Up to when payments through one source have been seen."""

    __tablename__ = "payment_source"

    # "chain:NAME" or "provider:NAME"; "platform" is this install itself (see subscriptions/sight.py).
    name: Mapped[str] = mapped_column(primary_key=True)
    # Domain time at which the last complete poll began.
    polled_at: Mapped[datetime | None]
    # Machine time of the newest block (of the platform: since when it runs without a gap).
    head_at: Mapped[datetime | None]
    block_time_s: Mapped[float | None]
    seen_ok_at: Mapped[datetime | None]
    last_error: Mapped[str | None]
