"""Plans: what is sold, for how long, and how its end is announced."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from tenure.model.base import Base, CreatedAt, Key


class Plan(Base):
    """A plan by its code. A subscription keeps a snapshot, so a change concerns new subscriptions only."""

    __tablename__ = "plan"

    id: Mapped[Key]
    code: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    price_minor: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str]
    interval_unit: Mapped[str]
    interval_count: Mapped[int]
    trial_days: Mapped[int] = mapped_column(server_default=text("0"))
    grace_hours: Mapped[int] = mapped_column(server_default=text("0"))
    # [{"stage", "offset_hours", "channels": []}]
    reminders: Mapped[list[dict[str, Any]]] = mapped_column(JSONB(), server_default=text("'[]'::jsonb"))
    auto_renew: Mapped[bool] = mapped_column(server_default=text("false"))
    version: Mapped[int] = mapped_column(server_default=text("1"))
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[CreatedAt]

    __table_args__ = (
        CheckConstraint("price_minor > 0", name="price"),
        CheckConstraint("currency ~ '^[A-Z]{3}$'", name="currency"),
        CheckConstraint("interval_unit IN ('day', 'week', 'month', 'year')", name="interval_unit"),
        CheckConstraint("interval_count > 0", name="interval_count"),
        CheckConstraint("trial_days >= 0", name="trial_days"),
        CheckConstraint("grace_hours >= 0", name="grace_hours"),
    )
