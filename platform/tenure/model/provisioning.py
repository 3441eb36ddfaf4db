"""Provisioning: the access that each subscription shall have, and the access that it has."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, func, text
from sqlalchemy.dialects.postgresql import TIMESTAMP
from sqlalchemy.orm import Mapped, mapped_column

from tenure.model.base import Base, IdText


class Provisioning(Base):
    """One row for each subscription. The generation rises with every change of what the provisioner is told.

    Generation 0 means that the provisioner was never told of this account.
    """

    __tablename__ = "provisioning"

    subscription_id: Mapped[str] = mapped_column(
        IdText, ForeignKey("subscription.id", ondelete="CASCADE"), primary_key=True
    )
    desired_generation: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    applied_generation: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    # The body of the desired generation.
    enabled: Mapped[bool] = mapped_column(server_default=text("false"))
    access_until: Mapped[datetime | None]
    plan_code: Mapped[str]
    external_id: Mapped[str]
    email: Mapped[str | None]
    state: Mapped[str] = mapped_column(server_default="in_sync")
    # 0: somebody has just paid; 1: a person asked; 2: bulk work.
    priority: Mapped[int] = mapped_column(server_default=text("1"))
    attempts: Mapped[int] = mapped_column(server_default=text("0"))
    # Machine time, as all of the below.
    next_at: Mapped[datetime] = mapped_column(TIMESTAMP(timezone=True), server_default=func.clock_timestamp())
    locked_until: Mapped[datetime | None]
    # The iteration that holds the lock, and the token of its thread.
    locked_by: Mapped[str | None] = mapped_column(IdText)
    lock_token: Mapped[str | None]
    applied_at: Mapped[datetime | None]
    last_error: Mapped[str | None]

    __table_args__ = (
        CheckConstraint("state IN ('in_sync', 'pending', 'blocked')", name="state"),
        CheckConstraint(
            "(state = 'in_sync') = (applied_generation = desired_generation)", name="in_sync_means_applied"
        ),
        CheckConstraint("applied_generation <= desired_generation", name="generations"),
        Index("ix_provisioning_due", "priority", "next_at", postgresql_where=text("state = 'pending'")),
        Index("ix_provisioning_locked", "locked_by", postgresql_where=text("locked_by IS NOT NULL")),
        Index("ix_provisioning_blocked", "subscription_id", postgresql_where=text("state = 'blocked'")),
        # Every row is claimed and settled: leave room beside it, so that its index entries stay.
        {"postgresql_with": {"fillfactor": 70}},
    )
