"""Customers, plans, subscriptions, holds, provisioning, notices."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

FUNCTIONS = """
-- A moment as the API writes it: UTC, `Z`, microseconds only where there are any (as tenure.kit.times).
CREATE FUNCTION tenure_rfc3339(moment timestamptz) RETURNS text LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT replace(to_char(moment AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US'), '.000000', '') || 'Z'
$$;
"""


def upgrade() -> None:
    op.execute(FUNCTIONS)
    op.create_table(
        "customer",
        sa.Column("id", sa.Text(collation="C"), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("telegram_chat_id", sa.Text(), nullable=True),
        sa.Column("locale", sa.Text(), server_default="en", nullable=False),
        sa.Column("timezone", sa.Text(), server_default="UTC", nullable=False),
        sa.Column("email_blocked_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("telegram_blocked_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column(
            "created_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column(
            "updated_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.CheckConstraint("external_id <> ''", name=op.f("ck_customer_external_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_customer")),
        sa.UniqueConstraint("external_id", name=op.f("uq_customer_external_id")),
    )
    op.create_table(
        "payment_source",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("polled_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("head_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("block_time_s", sa.Double(), nullable=True),
        sa.Column("seen_ok_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_payment_source")),
    )
    op.create_table(
        "plan",
        sa.Column("id", sa.Text(collation="C"), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("price_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("interval_unit", sa.Text(), nullable=False),
        sa.Column("interval_count", sa.Integer(), nullable=False),
        sa.Column("trial_days", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("grace_hours", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column(
            "reminders",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'[]'::jsonb"),
            nullable=False,
        ),
        sa.Column("auto_renew", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column(
            "created_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column(
            "updated_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.CheckConstraint("currency ~ '^[A-Z]{3}$'", name=op.f("ck_plan_currency")),
        sa.CheckConstraint(
            "interval_unit IN ('day', 'week', 'month', 'year')", name=op.f("ck_plan_interval_unit")
        ),
        sa.CheckConstraint("grace_hours >= 0", name=op.f("ck_plan_grace_hours")),
        sa.CheckConstraint("interval_count > 0", name=op.f("ck_plan_interval_count")),
        sa.CheckConstraint("price_minor > 0", name=op.f("ck_plan_price")),
        sa.CheckConstraint("trial_days >= 0", name=op.f("ck_plan_trial_days")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_plan")),
        sa.UniqueConstraint("code", name=op.f("uq_plan_code")),
    )
    op.create_table(
        "subscription",
        sa.Column("id", sa.Text(collation="C"), nullable=False),
        sa.Column("customer_id", sa.Text(collation="C"), nullable=False),
        sa.Column("plan_code", sa.Text(), nullable=False),
        sa.Column("plan_snapshot", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("grace_hours", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("status", sa.Text(), server_default="incomplete", nullable=False),
        sa.Column("is_trial", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("anchor_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("anchor_no", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("period_no", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("end_moves", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("period_start", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("period_end", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("grace_until", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column(
            "access_until",
            postgresql.TIMESTAMP(timezone=True),
            sa.Computed(
                "CASE WHEN cancel_at_period_end THEN period_end ELSE grace_until END", persisted=True
            ),
            nullable=True,
        ),
        sa.Column("cancel_at_period_end", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("auto_renew", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("paid_periods", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("paused_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("paused_from", sa.Text(), nullable=True),
        sa.Column("ended_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("holds", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("payable_until", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("payable_source", sa.Text(), nullable=True),
        sa.Column("remind_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column(
            "created_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column(
            "updated_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.CheckConstraint(
            "(status = 'paused') = (paused_at IS NOT NULL)", name=op.f("ck_subscription_paused_at")
        ),
        sa.CheckConstraint(
            "(status = 'paused') = (paused_from IS NOT NULL)", name=op.f("ck_subscription_paused_from")
        ),
        sa.CheckConstraint(
            "status <> 'trialing' OR is_trial", name=op.f("ck_subscription_trialing_is_trial")
        ),
        sa.CheckConstraint(
            "status IN ('incomplete', 'canceled') OR period_end IS NOT NULL",
            name=op.f("ck_subscription_has_period"),
        ),
        sa.CheckConstraint(
            "status IN ('incomplete', 'trialing', 'active', 'past_due', 'paused', 'canceled', 'expired')",
            name=op.f("ck_subscription_status"),
        ),
        sa.CheckConstraint(
            "(period_end IS NULL) = (period_start IS NULL) AND (period_end IS NULL) = (grace_until IS NULL)",
            name=op.f("ck_subscription_period_whole"),
        ),
        sa.CheckConstraint("holds >= 0", name=op.f("ck_subscription_holds")),
        sa.CheckConstraint("paid_periods >= 0", name=op.f("ck_subscription_paid_periods")),
        sa.CheckConstraint(
            "period_start <= period_end AND period_end <= grace_until",
            name=op.f("ck_subscription_period_order"),
        ),
        sa.ForeignKeyConstraint(
            ["customer_id"], ["customer.id"], name=op.f("fk_subscription_customer_id_customer")
        ),
        sa.ForeignKeyConstraint(["plan_code"], ["plan.code"], name=op.f("fk_subscription_plan_code_plan")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_subscription")),
    )
    op.create_index(
        "ix_subscription_access_due",
        "subscription",
        ["access_until"],
        unique=False,
        postgresql_where=sa.text("status IN ('trialing', 'active', 'past_due')"),
    )
    op.create_index("ix_subscription_customer_id", "subscription", ["customer_id", "id"], unique=False)
    op.create_index(
        "ix_subscription_period_due",
        "subscription",
        ["period_end"],
        unique=False,
        postgresql_where=sa.text("status IN ('trialing', 'active')"),
    )
    op.create_index(
        "ix_subscription_remind_period",
        "subscription",
        ["remind_at"],
        unique=False,
        postgresql_where=sa.text("remind_at IS NOT NULL AND NOT is_trial"),
    )
    op.create_index(
        "ix_subscription_remind_trial",
        "subscription",
        ["remind_at"],
        unique=False,
        postgresql_where=sa.text("remind_at IS NOT NULL AND is_trial"),
    )
    op.create_index("ix_subscription_status", "subscription", ["status", "id"], unique=False)
    op.create_table(
        "hold",
        sa.Column("subscription_id", sa.Text(collation="C"), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("ref", sa.Text(), nullable=False),
        sa.Column(
            "created_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.CheckConstraint(
            "kind IN ('payment_in_flight', 'fraud', 'manual', 'reversal')", name=op.f("ck_hold_kind")
        ),
        sa.ForeignKeyConstraint(
            ["subscription_id"],
            ["subscription.id"],
            name=op.f("fk_hold_subscription_id_subscription"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("subscription_id", "kind", "ref", name=op.f("pk_hold")),
    )
    op.create_table(
        "notice",
        sa.Column("id", sa.Text(collation="C"), nullable=False),
        sa.Column("subscription_id", sa.Text(collation="C"), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("stage", sa.Text(), server_default="", nullable=False),
        sa.Column("ref", sa.Text(), server_default="", nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), server_default="planned", nullable=False),
        sa.Column("skipped_reason", sa.Text(), nullable=True),
        sa.Column("priority", sa.Integer(), server_default=sa.text("2"), nullable=False),
        sa.Column(
            "data",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column(
            "planned_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("tenure_now()"),
            nullable=False,
        ),
        sa.Column("not_after", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column(
            "next_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("sent_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("provider_message_id", sa.Text(), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("planned_by", sa.Text(collation="C"), nullable=True),
        sa.Column("sent_by", sa.Text(collation="C"), nullable=True),
        sa.Column(
            "created_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.CheckConstraint("(state = 'sent') = (sent_at IS NOT NULL)", name=op.f("ck_notice_sent_at")),
        sa.CheckConstraint(
            "(state = 'skipped') = (skipped_reason IS NOT NULL)", name=op.f("ck_notice_skipped_has_reason")
        ),
        sa.CheckConstraint("channel IN ('email', 'telegram', 'webhook')", name=op.f("ck_notice_channel")),
        sa.CheckConstraint(
            "kind IN ('trial_started', 'trial_ending', 'period_ending', 'past_due', 'expired', 'payment_confirmed', 'payment_problem')",
            name=op.f("ck_notice_kind"),
        ),
        sa.CheckConstraint(
            "state IN ('planned', 'sending', 'sent', 'unknown', 'skipped', 'failed')",
            name=op.f("ck_notice_state"),
        ),
        sa.ForeignKeyConstraint(
            ["subscription_id"],
            ["subscription.id"],
            name=op.f("fk_notice_subscription_id_subscription"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notice")),
        sa.UniqueConstraint("subscription_id", "kind", "stage", "ref", "channel", name="uq_notice_once"),
    )
    op.create_index(
        "ix_notice_planned",
        "notice",
        ["priority", "next_at"],
        unique=False,
        postgresql_where=sa.text("state = 'planned'"),
    )
    op.create_index(
        "ix_notice_sending",
        "notice",
        ["sent_by"],
        unique=False,
        postgresql_where=sa.text("state = 'sending'"),
    )
    op.create_index(
        "ix_notice_unknown",
        "notice",
        ["next_at"],
        unique=False,
        postgresql_where=sa.text("state = 'unknown'"),
    )
    op.create_table(
        "provisioning",
        sa.Column("subscription_id", sa.Text(collation="C"), nullable=False),
        sa.Column("desired_generation", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("applied_generation", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("enabled", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("access_until", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("plan_code", sa.Text(), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), server_default="in_sync", nullable=False),
        sa.Column("priority", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column(
            "next_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("locked_until", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("locked_by", sa.Text(collation="C"), nullable=True),
        sa.Column("lock_token", sa.Text(), nullable=True),
        sa.Column("applied_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "(state = 'in_sync') = (applied_generation = desired_generation)",
            name=op.f("ck_provisioning_in_sync_means_applied"),
        ),
        sa.CheckConstraint("state IN ('in_sync', 'pending', 'blocked')", name=op.f("ck_provisioning_state")),
        sa.CheckConstraint(
            "applied_generation <= desired_generation", name=op.f("ck_provisioning_generations")
        ),
        sa.ForeignKeyConstraint(
            ["subscription_id"],
            ["subscription.id"],
            name=op.f("fk_provisioning_subscription_id_subscription"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("subscription_id", name=op.f("pk_provisioning")),
        postgresql_with={"fillfactor": 70},
    )
    op.create_index(
        "ix_provisioning_blocked",
        "provisioning",
        ["subscription_id"],
        unique=False,
        postgresql_where=sa.text("state = 'blocked'"),
    )
    op.create_index(
        "ix_provisioning_due",
        "provisioning",
        ["priority", "next_at"],
        unique=False,
        postgresql_where=sa.text("state = 'pending'"),
    )
    op.create_index(
        "ix_provisioning_locked",
        "provisioning",
        ["locked_by"],
        unique=False,
        postgresql_where=sa.text("locked_by IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index(
        "ix_provisioning_locked", table_name="provisioning", postgresql_where=sa.text("locked_by IS NOT NULL")
    )
    op.drop_index(
        "ix_provisioning_due", table_name="provisioning", postgresql_where=sa.text("state = 'pending'")
    )
    op.drop_index(
        "ix_provisioning_blocked", table_name="provisioning", postgresql_where=sa.text("state = 'blocked'")
    )
    op.drop_table("provisioning")
    op.drop_index("ix_notice_unknown", table_name="notice", postgresql_where=sa.text("state = 'unknown'"))
    op.drop_index("ix_notice_sending", table_name="notice", postgresql_where=sa.text("state = 'sending'"))
    op.drop_index("ix_notice_planned", table_name="notice", postgresql_where=sa.text("state = 'planned'"))
    op.drop_table("notice")
    op.drop_table("hold")
    op.drop_index("ix_subscription_status", table_name="subscription")
    op.drop_index(
        "ix_subscription_remind_trial",
        table_name="subscription",
        postgresql_where=sa.text("remind_at IS NOT NULL AND is_trial"),
    )
    op.drop_index(
        "ix_subscription_remind_period",
        table_name="subscription",
        postgresql_where=sa.text("remind_at IS NOT NULL AND NOT is_trial"),
    )
    op.drop_index(
        "ix_subscription_period_due",
        table_name="subscription",
        postgresql_where=sa.text("status IN ('trialing', 'active')"),
    )
    op.drop_index("ix_subscription_customer_id", table_name="subscription")
    op.drop_index(
        "ix_subscription_access_due",
        table_name="subscription",
        postgresql_where=sa.text("status IN ('trialing', 'active', 'past_due')"),
    )
    op.drop_table("subscription")
    op.drop_table("plan")
    op.drop_table("payment_source")
    op.drop_table("customer")
    op.execute("DROP FUNCTION tenure_rfc3339(timestamptz)")
