"""Slots, iterations, schedules and nodes: the ledger of what ran."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, get_args

from sqlalchemy import BigInteger, CheckConstraint, Double, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from tenure.model.base import Base, CreatedAt, IdText, JsonObject, Key

SLOT_STATES = "'pending', 'started', 'skipped'"
SkipReason = Literal["overlap", "expired", "paused", "outage", "canceled", "undelivered", "quarantined"]
REASONS: tuple[str, ...] = get_args(SkipReason)
SKIP_REASONS = ", ".join(f"'{reason}'" for reason in REASONS)
OUTCOMES = "'ok', 'failed', 'timed_out', 'killed', 'lost', 'canceled'"


class Node(Base):
    """A process that runs or schedules iterations, alive while its lease is."""

    __tablename__ = "node"

    id: Mapped[Key]
    role: Mapped[str]
    name: Mapped[str]
    host: Mapped[str]
    pid: Mapped[int]
    version: Mapped[str]
    started_at: Mapped[CreatedAt]
    lease_until: Mapped[datetime]
    leased_since: Mapped[CreatedAt]
    stopped_at: Mapped[datetime | None]
    info: Mapped[JsonObject]

    __table_args__ = (
        Index("ix_node_lease_until", "lease_until", postgresql_where=text("stopped_at IS NULL")),
    )


class Schedule(Base):
    """When a job is due; what is null falls back to the catalog."""

    __tablename__ = "schedule"

    job: Mapped[str] = mapped_column(primary_key=True)
    every_s: Mapped[float | None]
    cron: Mapped[str | None]
    timezone: Mapped[str] = mapped_column(server_default="UTC")
    enabled: Mapped[bool] = mapped_column(server_default=text("true"))
    paused: Mapped[bool] = mapped_column(server_default=text("false"))
    paused_until: Mapped[datetime | None]
    pause_reason: Mapped[str | None]
    paused_by: Mapped[str | None]
    next_due_at: Mapped[datetime | None]
    last_due_at: Mapped[datetime | None]
    updated_at: Mapped[CreatedAt]

    __table_args__ = (CheckConstraint("every_s IS NULL OR cron IS NULL", name="one_rhythm"),)


class Slot(Base):
    """One due time of a job: it starts once, or is skipped with a reason."""

    __tablename__ = "slot"

    id: Mapped[Key]
    job: Mapped[str]
    scope: Mapped[str] = mapped_column(server_default="")
    due_at: Mapped[datetime]
    origin: Mapped[str]
    state: Mapped[str] = mapped_column(server_default="pending")
    reason: Mapped[str | None]
    count: Mapped[int] = mapped_column(server_default=text("1"))
    attempt: Mapped[int] = mapped_column(server_default=text("1"))
    created_at: Mapped[CreatedAt]
    expires_at: Mapped[datetime]
    # Publishing: not before this, how often it was tried, and when the broker last took it.
    publish_after: Mapped[CreatedAt]
    publish_tries: Mapped[int] = mapped_column(server_default=text("0"))
    published_at: Mapped[datetime | None]
    decided_at: Mapped[datetime | None]
    # Who asked for a run, and the caller's own key for it: the same key is the same run.
    user_id: Mapped[str | None] = mapped_column(IdText)
    run_key: Mapped[str | None]

    __table_args__ = (
        UniqueConstraint("job", "scope", "due_at"),
        UniqueConstraint("user_id", "run_key"),
        CheckConstraint(f"state IN ({SLOT_STATES})", name="state"),
        CheckConstraint(f"reason IN ({SKIP_REASONS})", name="reason"),
        CheckConstraint("(state = 'skipped') = (reason IS NOT NULL)", name="skipped_has_reason"),
        CheckConstraint("origin IN ('schedule', 'run')", name="origin"),
        Index("ix_slot_pending", "expires_at", postgresql_where=text("state = 'pending'")),
        Index("ix_slot_unpublished", "publish_after", postgresql_where=text("state = 'pending'")),
        Index("ix_slot_job_id", "job", "id"),
    )


class Iteration(Base):
    """One run of a slot: one START (the row) and one END (`ended_at`), whoever writes it."""

    __tablename__ = "iteration"

    id: Mapped[Key]
    slot_id: Mapped[str] = mapped_column(IdText, ForeignKey("slot.id"))
    job: Mapped[str]
    scope: Mapped[str]
    due_at: Mapped[datetime]
    attempt: Mapped[int]
    max_attempts: Mapped[int] = mapped_column(server_default=text("1"))
    # Made by the parent for each received message: only the run that holds it may end this row.
    owner: Mapped[str] = mapped_column(unique=True)
    node_id: Mapped[str] = mapped_column(IdText)
    worker: Mapped[str]
    pid: Mapped[int]
    started_at: Mapped[CreatedAt]
    deadline_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    outcome: Mapped[str | None]
    ended_by: Mapped[str | None]
    error_type: Mapped[str | None]
    error_message: Mapped[str | None]
    counters: Mapped[dict[str, Any]] = mapped_column(
        JSONB(), server_default=text("""'{"seen": 0, "done": 0, "skipped": 0, "failed": 0}'::jsonb""")
    )

    __table_args__ = (
        UniqueConstraint("job", "scope", "due_at", "attempt"),
        # The row that is open is the lock: no second run of a job and scope can start beside it.
        Index("uq_iteration_open", "job", "scope", unique=True, postgresql_where=text("ended_at IS NULL")),
        CheckConstraint(f"outcome IN ({OUTCOMES})", name="outcome"),
        CheckConstraint("ended_by IN ('child', 'parent', 'reaper')", name="ended_by"),
        CheckConstraint(
            "(ended_at IS NULL) = (outcome IS NULL) AND (ended_at IS NULL) = (ended_by IS NULL)",
            name="ended_whole",
        ),
        Index("ix_iteration_slot_id", "slot_id"),
        Index("ix_iteration_job_id", "job", "id"),
        Index("ix_iteration_open_node", "node_id", postgresql_where=text("ended_at IS NULL")),
        Index("ix_iteration_open_deadline", "deadline_at", postgresql_where=text("ended_at IS NULL")),
        Index(
            "ix_iteration_ended",
            "ended_at",
            postgresql_where=text("ended_at IS NOT NULL AND outcome <> 'ok'"),
        ),
    )


class Quarantine(Base):
    """A job and scope that is not started any more until an operator lets it."""

    __tablename__ = "quarantine"

    job: Mapped[str] = mapped_column(primary_key=True)
    scope: Mapped[str] = mapped_column(primary_key=True)
    since: Mapped[CreatedAt]
    reason: Mapped[str]


class Tally(Base):
    """How often a job started, ended with an outcome, or was skipped for a reason, up to the mark."""

    __tablename__ = "tally"

    kind: Mapped[str] = mapped_column(primary_key=True)
    job: Mapped[str] = mapped_column(primary_key=True)
    detail: Mapped[str] = mapped_column(primary_key=True, server_default="")
    n: Mapped[int] = mapped_column(BigInteger)
    seconds: Mapped[float] = mapped_column(Double, server_default=text("0"))

    __table_args__ = (CheckConstraint("kind IN ('started', 'ended', 'skipped')", name="kind"),)


class TallyMark(Base):
    """The place in the order of events up to which the tally has counted; one row."""

    __tablename__ = "tally_mark"

    one: Mapped[bool] = mapped_column(primary_key=True, server_default=text("true"))
    seq: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))

    __table_args__ = (CheckConstraint("one", name="one_row"),)
