"""Audit entries, alerts, and the sandbox's clock."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import CheckConstraint, Index, text
from sqlalchemy.dialects.postgresql import INTERVAL, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from tenure.model.base import Base, CreatedAt, IdText, JsonObject, Key


class Audit(Base):
    """Who did what to which object, with what stood before and after. Rows are only ever added."""

    __tablename__ = "audit"

    id: Mapped[Key]
    ts: Mapped[CreatedAt]
    actor: Mapped[str]
    action: Mapped[str]
    object: Mapped[str]
    before: Mapped[dict[str, Any] | None] = mapped_column(JSONB())
    after: Mapped[dict[str, Any] | None] = mapped_column(JSONB())
    reason: Mapped[str | None]
    request_id: Mapped[str | None]
    subscription_id: Mapped[str | None] = mapped_column(IdText)

    __table_args__ = (
        Index(
            "ix_audit_subscription",
            "subscription_id",
            "id",
            postgresql_where=text("subscription_id IS NOT NULL"),
        ),
    )


class Alert(Base):
    """Something a person should look at: one open row for a rule and what it is about."""

    __tablename__ = "alert"

    id: Mapped[Key]
    rule: Mapped[str]
    subject: Mapped[str]
    severity: Mapped[str] = mapped_column(server_default="warning")
    message: Mapped[str]
    since: Mapped[CreatedAt]
    last_seen_at: Mapped[CreatedAt]
    count: Mapped[int] = mapped_column(server_default=text("1"))
    resolved_at: Mapped[datetime | None]
    data: Mapped[JsonObject]

    __table_args__ = (
        CheckConstraint("severity IN ('info', 'warning', 'critical')", name="severity"),
        Index("uq_alert_open", "rule", "subject", unique=True, postgresql_where=text("resolved_at IS NULL")),
    )


class DomainClock(Base):
    """How far the sandbox's domain time is ahead of machine time; one row."""

    __tablename__ = "domain_clock"

    one: Mapped[bool] = mapped_column(primary_key=True, server_default=text("true"))
    ahead: Mapped[timedelta] = mapped_column(INTERVAL(), server_default=text("interval '0'"))

    __table_args__ = (CheckConstraint("one", name="one_row"),)
