"""Events: what happened, in the order it was committed; and what is to be told to the outside."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Identity, Index, Text, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from tenure.model.base import Base, CreatedAt, IdText, JsonObject, Key


class Event(Base):
    """One fact, written in the transaction that made it true."""

    __tablename__ = "event"

    id: Mapped[Key]
    # The order of writing inside one transaction; across transactions it says nothing.
    n: Mapped[int] = mapped_column(BigInteger, Identity(always=True))
    type: Mapped[str]
    subject: Mapped[str]
    channels: Mapped[list[str]] = mapped_column(ARRAY(Text()), server_default=text("'{}'"))
    # For the subscription's timeline.
    subscription_id: Mapped[str | None] = mapped_column(IdText)
    iteration_id: Mapped[str | None] = mapped_column(IdText)
    ts: Mapped[CreatedAt]
    data: Mapped[JsonObject]

    __table_args__ = (
        Index(
            "ix_event_subscription",
            "subscription_id",
            "id",
            postgresql_where=text("subscription_id IS NOT NULL"),
        ),
    )


class EventPending(Base):
    """An event that has no place in the order yet; a trigger fills it, the relay empties it."""

    __tablename__ = "event_pending"

    n: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    event_id: Mapped[str] = mapped_column(IdText)


class EventSeq(Base):
    """The place of an event in the commit order: dense, given by the relay alone."""

    __tablename__ = "event_seq"

    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    event_id: Mapped[str] = mapped_column(IdText, ForeignKey("event.id", ondelete="CASCADE"), unique=True)


class EventChannel(Base):
    """The place of an event in one object's channel: contiguous from 1."""

    __tablename__ = "event_channel"

    channel: Mapped[Key]
    ofs: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    seq: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("event_seq.seq", ondelete="CASCADE", deferrable=False), index=True
    )


class Lease(Base):
    """Who leads a role that has one leader; `token` rises with each change of hands."""

    __tablename__ = "lease"

    name: Mapped[str] = mapped_column(primary_key=True)
    holder: Mapped[str]
    token: Mapped[int] = mapped_column(BigInteger)
    lease_until: Mapped[datetime]


class Outbox(Base):
    """Something to be told to the outside, at least once or at most once by its topic."""

    __tablename__ = "outbox"

    id: Mapped[Key]
    topic: Mapped[str]
    dedupe_key: Mapped[str] = mapped_column(unique=True)
    payload: Mapped[JsonObject]
    state: Mapped[str] = mapped_column(server_default="ready")
    created_at: Mapped[CreatedAt]
    available_at: Mapped[CreatedAt]
    locked_until: Mapped[datetime | None]
    lock_token: Mapped[str | None]
    attempts: Mapped[int] = mapped_column(server_default=text("0"))
    last_error: Mapped[str | None]
    done_at: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint("state IN ('ready', 'done', 'dead', 'unknown')", name="state"),
        Index("ix_outbox_ready", "topic", "available_at", postgresql_where=text("state = 'ready'")),
    )
