"""The runtime: slots, iterations, events, outbox, alerts, audit, and the database's clocks and ids."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


FUNCTIONS = """
-- The same layout as tenure.kit.ids: 48 bits of milliseconds, then 64 random bits.
CREATE FUNCTION tenure_id(prefix text) RETURNS text LANGUAGE sql VOLATILE PARALLEL SAFE AS $$
    SELECT prefix || '_'
        || lpad(to_hex((extract(epoch FROM clock_timestamp()) * 1000)::bigint), 12, '0')
        || right(replace(gen_random_uuid()::text, '-', ''), 16)
$$;
-- Domain time: the transaction's time, moved by the sandbox. Machine time is clock_timestamp().
CREATE FUNCTION tenure_now() RETURNS timestamptz LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT now() + coalesce((SELECT ahead FROM domain_clock), interval '0')
$$;
-- Whoever writes an event leaves it to the relay to give it its place in the commit order.
CREATE FUNCTION event_to_pending() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO event_pending (n, event_id) SELECT n, id FROM added;
    PERFORM pg_notify('tenure_events', '');
    RETURN NULL;
END $$;
CREATE TRIGGER event_added AFTER INSERT ON event
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION event_to_pending();
INSERT INTO domain_clock DEFAULT VALUES;
"""

DROP_FUNCTIONS = """
DROP TRIGGER event_added ON event;
DROP FUNCTION event_to_pending();
DROP FUNCTION tenure_now();
DROP FUNCTION tenure_id(text);
"""


def upgrade() -> None:
    op.create_table(
        "alert",
        sa.Column("id", sa.Text(collation="C"), nullable=False),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("severity", sa.Text(), server_default="warning", nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column(
            "since",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column(
            "last_seen_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("count", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("resolved_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column(
            "data",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.CheckConstraint("severity IN ('info', 'warning', 'critical')", name=op.f("ck_alert_severity")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alert")),
    )
    op.create_index(
        "uq_alert_open",
        "alert",
        ["rule", "subject"],
        unique=True,
        postgresql_where=sa.text("resolved_at IS NULL"),
    )
    op.create_table(
        "audit",
        sa.Column("id", sa.Text(collation="C"), nullable=False),
        sa.Column(
            "ts",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("object", sa.Text(), nullable=False),
        sa.Column("before", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("after", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column("subscription_id", sa.Text(collation="C"), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
    )
    op.create_index(
        "ix_audit_subscription",
        "audit",
        ["subscription_id", "id"],
        unique=False,
        postgresql_where=sa.text("subscription_id IS NOT NULL"),
    )
    op.create_table(
        "domain_clock",
        sa.Column("one", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("ahead", postgresql.INTERVAL(), server_default=sa.text("interval '0'"), nullable=False),
        sa.CheckConstraint("one", name=op.f("ck_domain_clock_one_row")),
        sa.PrimaryKeyConstraint("one", name=op.f("pk_domain_clock")),
    )
    op.create_table(
        "event",
        sa.Column("id", sa.Text(collation="C"), nullable=False),
        sa.Column("n", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("channels", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("subscription_id", sa.Text(collation="C"), nullable=True),
        sa.Column("iteration_id", sa.Text(collation="C"), nullable=True),
        sa.Column(
            "ts",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column(
            "data",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_event")),
    )
    op.create_index(
        "ix_event_subscription",
        "event",
        ["subscription_id", "id"],
        unique=False,
        postgresql_where=sa.text("subscription_id IS NOT NULL"),
    )
    op.create_table(
        "event_pending",
        sa.Column("n", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("event_id", sa.Text(collation="C"), nullable=False),
        sa.PrimaryKeyConstraint("n", name=op.f("pk_event_pending")),
    )
    op.create_table(
        "lease",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("token", sa.BigInteger(), nullable=False),
        sa.Column("lease_until", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_lease")),
    )
    op.create_table(
        "node",
        sa.Column("id", sa.Text(collation="C"), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column(
            "started_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("lease_until", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("stopped_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column(
            "info",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_node")),
    )
    op.create_index(
        "ix_node_lease_until",
        "node",
        ["lease_until"],
        unique=False,
        postgresql_where=sa.text("stopped_at IS NULL"),
    )
    op.create_table(
        "outbox",
        sa.Column("id", sa.Text(collation="C"), nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("dedupe_key", sa.Text(), nullable=False),
        sa.Column(
            "payload",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column("state", sa.Text(), server_default="ready", nullable=False),
        sa.Column(
            "created_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column(
            "available_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("locked_until", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("lock_token", sa.Text(), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("done_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.CheckConstraint("state IN ('ready', 'done', 'dead', 'unknown')", name=op.f("ck_outbox_state")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
        sa.UniqueConstraint("dedupe_key", name=op.f("uq_outbox_dedupe_key")),
    )
    op.create_index(
        "ix_outbox_ready",
        "outbox",
        ["topic", "available_at"],
        unique=False,
        postgresql_where=sa.text("state = 'ready'"),
    )
    op.create_table(
        "quarantine",
        sa.Column("job", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column(
            "since",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("job", "scope", name=op.f("pk_quarantine")),
    )
    op.create_table(
        "schedule",
        sa.Column("job", sa.Text(), nullable=False),
        sa.Column("every_s", sa.Double(), nullable=True),
        sa.Column("cron", sa.Text(), nullable=True),
        sa.Column("timezone", sa.Text(), server_default="UTC", nullable=False),
        sa.Column("enabled", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("paused", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("paused_until", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("pause_reason", sa.Text(), nullable=True),
        sa.Column("paused_by", sa.Text(), nullable=True),
        sa.Column("next_due_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("last_due_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column(
            "updated_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.CheckConstraint("every_s IS NULL OR cron IS NULL", name=op.f("ck_schedule_one_rhythm")),
        sa.PrimaryKeyConstraint("job", name=op.f("pk_schedule")),
    )
    op.create_table(
        "slot",
        sa.Column("id", sa.Text(collation="C"), nullable=False),
        sa.Column("job", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), server_default="", nullable=False),
        sa.Column("due_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), server_default="pending", nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("count", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("attempt", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column(
            "created_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("expires_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column(
            "publish_after",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("publish_tries", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("published_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("decided_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("user_id", sa.Text(collation="C"), nullable=True),
        sa.Column("run_key", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "(state = 'skipped') = (reason IS NOT NULL)", name=op.f("ck_slot_skipped_has_reason")
        ),
        sa.CheckConstraint("origin IN ('schedule', 'run')", name=op.f("ck_slot_origin")),
        sa.CheckConstraint(
            "reason IN ('overlap', 'expired', 'paused', 'outage', 'canceled', 'undelivered', 'quarantined')",
            name=op.f("ck_slot_reason"),
        ),
        sa.CheckConstraint("state IN ('pending', 'started', 'skipped')", name=op.f("ck_slot_state")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_slot")),
        sa.UniqueConstraint("job", "scope", "due_at", name=op.f("uq_slot_job_scope_due_at")),
        sa.UniqueConstraint("user_id", "run_key", name=op.f("uq_slot_user_id_run_key")),
    )
    op.create_index("ix_slot_job_id", "slot", ["job", "id"], unique=False)
    op.create_index(
        "ix_slot_unpublished", "slot", ["publish_after"], postgresql_where=sa.text("state = 'pending'")
    )
    op.create_index(
        "ix_slot_pending", "slot", ["expires_at"], unique=False, postgresql_where=sa.text("state = 'pending'")
    )
    op.create_table(
        "event_seq",
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("event_id", sa.Text(collation="C"), nullable=False),
        sa.ForeignKeyConstraint(
            ["event_id"], ["event.id"], name=op.f("fk_event_seq_event_id_event"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_event_seq")),
        sa.UniqueConstraint("event_id", name=op.f("uq_event_seq_event_id")),
    )
    op.create_table(
        "iteration",
        sa.Column("id", sa.Text(collation="C"), nullable=False),
        sa.Column("slot_id", sa.Text(collation="C"), nullable=False),
        sa.Column("job", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("due_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("node_id", sa.Text(collation="C"), nullable=False),
        sa.Column("worker", sa.Text(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column(
            "started_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("deadline_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("ended_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("ended_by", sa.Text(), nullable=True),
        sa.Column("error_type", sa.Text(), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column(
            "counters",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text('\'{"seen": 0, "done": 0, "skipped": 0, "failed": 0}\'::jsonb'),
            nullable=False,
        ),
        sa.CheckConstraint("ended_by IN ('child', 'parent', 'reaper')", name=op.f("ck_iteration_ended_by")),
        sa.CheckConstraint(
            "outcome IN ('ok', 'failed', 'timed_out', 'killed', 'lost', 'canceled')",
            name=op.f("ck_iteration_outcome"),
        ),
        sa.CheckConstraint(
            "(ended_at IS NULL) = (outcome IS NULL) AND (ended_at IS NULL) = (ended_by IS NULL)",
            name=op.f("ck_iteration_ended_whole"),
        ),
        sa.ForeignKeyConstraint(["slot_id"], ["slot.id"], name=op.f("fk_iteration_slot_id_slot")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_iteration")),
        sa.UniqueConstraint(
            "job", "scope", "due_at", "attempt", name=op.f("uq_iteration_job_scope_due_at_attempt")
        ),
        sa.UniqueConstraint("owner", name=op.f("uq_iteration_owner")),
    )
    op.create_index(
        "ix_iteration_ended",
        "iteration",
        ["ended_at"],
        unique=False,
        postgresql_where=sa.text("ended_at IS NOT NULL AND outcome <> 'ok'"),
    )
    op.create_index("ix_iteration_job_id", "iteration", ["job", "id"], unique=False)
    op.create_index(
        "ix_iteration_open_deadline",
        "iteration",
        ["deadline_at"],
        unique=False,
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.create_index(
        "ix_iteration_open_node",
        "iteration",
        ["node_id"],
        unique=False,
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.create_index("ix_iteration_slot_id", "iteration", ["slot_id"], unique=False)
    op.create_index(
        "uq_iteration_open",
        "iteration",
        ["job", "scope"],
        unique=True,
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.create_table(
        "event_channel",
        sa.Column("channel", sa.Text(collation="C"), nullable=False),
        sa.Column("ofs", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["seq"], ["event_seq.seq"], name=op.f("fk_event_channel_seq_event_seq"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("channel", "ofs", name=op.f("pk_event_channel")),
    )
    op.create_index(op.f("ix_event_channel_seq"), "event_channel", ["seq"], unique=False)
    op.execute(FUNCTIONS)


def downgrade() -> None:
    op.execute(DROP_FUNCTIONS)
    op.drop_index(op.f("ix_event_channel_seq"), table_name="event_channel")
    op.drop_table("event_channel")
    op.drop_index("uq_iteration_open", table_name="iteration", postgresql_where=sa.text("ended_at IS NULL"))
    op.drop_index("ix_iteration_slot_id", table_name="iteration")
    op.drop_index(
        "ix_iteration_open_node", table_name="iteration", postgresql_where=sa.text("ended_at IS NULL")
    )
    op.drop_index(
        "ix_iteration_open_deadline", table_name="iteration", postgresql_where=sa.text("ended_at IS NULL")
    )
    op.drop_index("ix_iteration_job_id", table_name="iteration")
    op.drop_index(
        "ix_iteration_ended",
        table_name="iteration",
        postgresql_where=sa.text("ended_at IS NOT NULL AND outcome <> 'ok'"),
    )
    op.drop_table("iteration")
    op.drop_table("event_seq")
    op.drop_index("ix_slot_pending", table_name="slot", postgresql_where=sa.text("state = 'pending'"))
    op.drop_index("ix_slot_unpublished", table_name="slot")
    op.drop_index("ix_slot_job_id", table_name="slot")
    op.drop_table("slot")
    op.drop_table("schedule")
    op.drop_table("quarantine")
    op.drop_index("ix_outbox_ready", table_name="outbox", postgresql_where=sa.text("state = 'ready'"))
    op.drop_table("outbox")
    op.drop_index("ix_node_lease_until", table_name="node", postgresql_where=sa.text("stopped_at IS NULL"))
    op.drop_table("node")
    op.drop_table("lease")
    op.drop_table("event_pending")
    op.drop_index(
        "ix_event_subscription", table_name="event", postgresql_where=sa.text("subscription_id IS NOT NULL")
    )
    op.drop_table("event")
    op.drop_table("domain_clock")
    op.drop_index(
        "ix_audit_subscription", table_name="audit", postgresql_where=sa.text("subscription_id IS NOT NULL")
    )
    op.drop_table("audit")
    op.drop_index("uq_alert_open", table_name="alert", postgresql_where=sa.text("resolved_at IS NULL"))
    op.drop_table("alert")
