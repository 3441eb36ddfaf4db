"""Customers: who is served, and where they can be told something."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import CheckConstraint
from sqlalchemy.orm import Mapped, mapped_column

from tenure.model.base import Base, CreatedAt, Key


class Customer(Base):
    """One customer of the install; `external_id` is the name the seller's own service knows them by."""

    __tablename__ = "customer"

    id: Mapped[Key]
    external_id: Mapped[str] = mapped_column(unique=True)
    email: Mapped[str | None]
    telegram_chat_id: Mapped[str | None]
    locale: Mapped[str] = mapped_column(server_default="en")
    # IANA name: periods of this customer's subscriptions are counted in its days.
    timezone: Mapped[str] = mapped_column(server_default="UTC")
    # Set when a channel answered that this customer cannot be reached there; a new address clears it.
    email_blocked_at: Mapped[datetime | None]
    telegram_blocked_at: Mapped[datetime | None]
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[CreatedAt]

    __table_args__ = (CheckConstraint("external_id <> ''", name="external_id"),)
