"""Money: invoices, quotes, payments, the ledger, the inbox of providers, and how far chains were read."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

FUNCTIONS = """
-- What is written in the ledger stands: corrections are entries of their own.
CREATE FUNCTION ledger_entry_stands() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'ledger entries are never changed or removed' USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER ledger_entry_stands BEFORE UPDATE OR DELETE ON ledger_entry
    FOR EACH ROW EXECUTE FUNCTION ledger_entry_stands();
CREATE TRIGGER ledger_entry_not_emptied BEFORE TRUNCATE ON ledger_entry
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_entry_stands();
"""


def upgrade() -> None:
    op.execute(sa.schema.CreateSequence(sa.Sequence("invoice_number")))
    op.create_table(
        "chain_cursor",
        sa.Column("chain", sa.Text(), nullable=False),
        sa.Column("next_block", sa.BigInteger(), nullable=False),
        sa.Column("head_block", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.BigInteger(), server_default=sa.text("1"), nullable=False),
        sa.Column(
            "updated_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("chain", name=op.f("pk_chain_cursor")),
    )
    op.create_table(
        "chain_block",
        sa.Column("chain", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("parent_hash", sa.Text(), nullable=False),
        sa.Column("timestamp", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["chain"],
            ["chain_cursor.chain"],
            name=op.f("fk_chain_block_chain_chain_cursor"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("chain", "number", name=op.f("pk_chain_block")),
    )
    op.create_table(
        "invoice",
        sa.Column("id", sa.Text(collation="C"), nullable=False),
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("subscription_id", sa.Text(collation="C"), nullable=False),
        sa.Column("customer_id", sa.Text(collation="C"), nullable=False),
        sa.Column("period_no", sa.Integer(), nullable=False),
        sa.Column("purpose", sa.Text(), server_default="period", nullable=False),
        sa.Column("origin", sa.Text(), server_default="request", nullable=False),
        sa.Column("status", sa.Text(), server_default="open", nullable=False),
        sa.Column("exception", sa.Text(), server_default="none", nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("paid_minor", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=True),
        sa.Column("source", sa.Text(), nullable=True),
        sa.Column("opened_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("due_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("expires_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("late_until", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("paid_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("closed_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("token", sa.Text(), nullable=False),
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
        sa.CheckConstraint("(status = 'paid') = (paid_at IS NOT NULL)", name=op.f("ck_invoice_paid_at")),
        sa.CheckConstraint(
            "exception IN ('none', 'underpaid', 'overpaid', 'late', 'reversed')",
            name=op.f("ck_invoice_exception"),
        ),
        sa.CheckConstraint("method IN ('chain', 'provider', 'manual')", name=op.f("ck_invoice_method")),
        sa.CheckConstraint("origin IN ('request', 'renewal')", name=op.f("ck_invoice_origin")),
        sa.CheckConstraint(
            "status IN ('draft', 'open', 'paid', 'expired', 'void')", name=op.f("ck_invoice_status")
        ),
        sa.CheckConstraint("amount_minor > 0 AND paid_minor >= 0", name=op.f("ck_invoice_amounts")),
        sa.CheckConstraint(
            "opened_at < expires_at AND expires_at <= late_until", name=op.f("ck_invoice_times")
        ),
        sa.ForeignKeyConstraint(
            ["customer_id"], ["customer.id"], name=op.f("fk_invoice_customer_id_customer")
        ),
        sa.ForeignKeyConstraint(
            ["subscription_id"], ["subscription.id"], name=op.f("fk_invoice_subscription_id_subscription")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_invoice")),
        sa.UniqueConstraint("number", name=op.f("uq_invoice_number")),
        sa.UniqueConstraint("token", name=op.f("uq_invoice_token")),
    )
    op.create_index("ix_invoice_customer_id", "invoice", ["customer_id"], unique=False)
    op.create_index(
        "ix_invoice_exception",
        "invoice",
        ["exception", "id"],
        unique=False,
        postgresql_where=sa.text("exception <> 'none'"),
    )
    op.create_index(
        "ix_invoice_expiring",
        "invoice",
        ["expires_at"],
        unique=False,
        postgresql_where=sa.text("status = 'open'"),
    )
    op.create_index("ix_invoice_status", "invoice", ["status", "id"], unique=False)
    op.create_index("ix_invoice_subscription_id", "invoice", ["subscription_id", "id"], unique=False)
    op.create_index(
        "uq_invoice_alive",
        "invoice",
        ["subscription_id", "period_no", "purpose"],
        unique=True,
        postgresql_where=sa.text("status NOT IN ('void', 'expired')"),
    )
    op.create_table(
        "payment",
        sa.Column("id", sa.Text(collation="C"), nullable=False),
        sa.Column("chain", sa.Text(), nullable=True),
        sa.Column("tx_hash", sa.Text(), nullable=True),
        sa.Column("ordinal", sa.Integer(), nullable=True),
        sa.Column("log_index", sa.Integer(), nullable=True),
        sa.Column("block_number", sa.BigInteger(), nullable=True),
        sa.Column("block_hash", sa.Text(), nullable=True),
        sa.Column("asset", sa.Text(), nullable=True),
        sa.Column("contract", sa.Text(), nullable=True),
        sa.Column("decimals", sa.Integer(), nullable=True),
        sa.Column("amount_units", sa.NUMERIC(precision=78, scale=0), nullable=True),
        sa.Column("to_address", sa.Text(), nullable=True),
        sa.Column("confirmations", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("required", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("provider", sa.Text(), nullable=True),
        sa.Column("provider_ref", sa.Text(), nullable=True),
        sa.Column("amount_minor", sa.BigInteger(), nullable=True),
        sa.Column("currency", sa.Text(), nullable=True),
        sa.Column("invoice_id", sa.Text(collation="C"), nullable=True),
        sa.Column("status", sa.Text(), server_default="seen", nullable=False),
        sa.Column("match", sa.Text(), server_default="unmatched", nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("seen_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("confirmed_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("credited_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column(
            "created_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.CheckConstraint(
            "(match = 'matched') = (invoice_id IS NOT NULL)", name=op.f("ck_payment_matched_has_invoice")
        ),
        sa.CheckConstraint("match IN ('matched', 'unmatched', 'ignored')", name=op.f("ck_payment_match")),
        sa.CheckConstraint(
            "status IN ('seen', 'confirmed', 'orphaned', 'reversed', 'refunded')",
            name=op.f("ck_payment_status"),
        ),
        sa.CheckConstraint("(chain IS NULL) <> (provider IS NULL)", name=op.f("ck_payment_one_origin")),
        sa.CheckConstraint(
            "chain IS NULL OR (tx_hash IS NOT NULL AND ordinal IS NOT NULL AND amount_units IS NOT NULL)",
            name=op.f("ck_payment_chain_key"),
        ),
        sa.CheckConstraint(
            "provider IS NULL OR provider_ref IS NOT NULL", name=op.f("ck_payment_provider_key")
        ),
        sa.ForeignKeyConstraint(["invoice_id"], ["invoice.id"], name=op.f("fk_payment_invoice_id_invoice")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_payment")),
        sa.UniqueConstraint("chain", "tx_hash", "ordinal", name=op.f("uq_payment_chain_tx_hash_ordinal")),
        sa.UniqueConstraint("provider", "provider_ref", name=op.f("uq_payment_provider_provider_ref")),
    )
    op.create_index("ix_payment_invoice_id", "payment", ["invoice_id", "id"], unique=False)
    op.create_index("ix_payment_match", "payment", ["match", "id"], unique=False)
    op.create_index("ix_payment_tx_hash", "payment", ["tx_hash"], unique=False)
    op.create_index(
        "ix_payment_uncredited",
        "payment",
        ["id"],
        unique=False,
        postgresql_where=sa.text("status = 'confirmed' AND match = 'matched' AND credited_at IS NULL"),
    )
    op.create_index(
        "ix_payment_waiting",
        "payment",
        ["chain", "block_number"],
        unique=False,
        postgresql_where=sa.text("status = 'seen'"),
    )
    op.create_table(
        "quote",
        sa.Column("id", sa.Text(collation="C"), nullable=False),
        sa.Column("invoice_id", sa.Text(collation="C"), nullable=False),
        sa.Column("chain", sa.Text(), nullable=False),
        sa.Column("chain_id", sa.BigInteger(), nullable=False),
        sa.Column("asset", sa.Text(), nullable=False),
        sa.Column("contract", sa.Text(), nullable=False),
        sa.Column("decimals", sa.Integer(), nullable=False),
        sa.Column("rate", sa.NUMERIC(precision=38, scale=18), nullable=False),
        sa.Column("amount_units", sa.NUMERIC(precision=78, scale=0), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("shown_address", sa.Text(), nullable=False),
        sa.Column("shown_contract", sa.Text(), nullable=False),
        sa.Column("confirmations", sa.Integer(), nullable=False),
        sa.Column("expires_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("live", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("reserved_until", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column(
            "created_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.CheckConstraint("amount_units > 0", name=op.f("ck_quote_amount_units")),
        sa.CheckConstraint("rate > 0", name=op.f("ck_quote_rate")),
        sa.ForeignKeyConstraint(["invoice_id"], ["invoice.id"], name=op.f("fk_quote_invoice_id_invoice")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_quote")),
    )
    op.create_index("ix_quote_invoice_id", "quote", ["invoice_id", "id"], unique=False)
    op.create_index(
        "ix_quote_reserved_until", "quote", ["reserved_until"], unique=False, postgresql_where=sa.text("live")
    )
    op.create_index(
        "uq_quote_live",
        "quote",
        ["chain", "address", "contract", "amount_units"],
        unique=True,
        postgresql_where=sa.text("live"),
    )
    op.create_table(
        "inbound_event",
        sa.Column("id", sa.Text(collation="C"), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("body", postgresql.BYTEA(), nullable=False),
        sa.Column(
            "headers",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column(
            "received_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("processed_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("result", sa.Text(), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("payment_id", sa.Text(collation="C"), nullable=True),
        sa.CheckConstraint(
            "result IN ('payment', 'duplicate', 'ignored', 'unusable')", name=op.f("ck_inbound_event_result")
        ),
        sa.CheckConstraint(
            "(processed_at IS NULL) = (result IS NULL)", name=op.f("ck_inbound_event_processed_whole")
        ),
        sa.ForeignKeyConstraint(
            ["payment_id"], ["payment.id"], name=op.f("fk_inbound_event_payment_id_payment")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_inbound_event")),
        sa.UniqueConstraint("provider", "event_id", name=op.f("uq_inbound_event_provider_event_id")),
    )
    op.create_index(
        "ix_inbound_event_waiting",
        "inbound_event",
        ["id"],
        unique=False,
        postgresql_where=sa.text("processed_at IS NULL"),
    )
    op.create_table(
        "ledger_entry",
        sa.Column("id", sa.Text(collation="C"), nullable=False),
        sa.Column("customer_id", sa.Text(collation="C"), nullable=False),
        sa.Column("payment_id", sa.Text(collation="C"), nullable=True),
        sa.Column("invoice_id", sa.Text(collation="C"), nullable=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("iteration_id", sa.Text(collation="C"), nullable=True),
        sa.Column(
            "at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("tenure_now()"), nullable=False
        ),
        sa.Column(
            "created_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.CheckConstraint(
            "(kind = 'credit' AND amount_minor >= 0) OR (kind = 'debit' AND amount_minor <= 0) OR (kind IN ('reversal', 'refund') AND amount_minor <= 0) OR kind = 'adjustment'",
            name=op.f("ck_ledger_entry_sign"),
        ),
        sa.CheckConstraint(
            "kind IN ('credit', 'debit', 'reversal', 'refund', 'adjustment')",
            name=op.f("ck_ledger_entry_kind"),
        ),
        sa.ForeignKeyConstraint(
            ["customer_id"], ["customer.id"], name=op.f("fk_ledger_entry_customer_id_customer")
        ),
        sa.ForeignKeyConstraint(
            ["invoice_id"], ["invoice.id"], name=op.f("fk_ledger_entry_invoice_id_invoice")
        ),
        sa.ForeignKeyConstraint(
            ["payment_id"], ["payment.id"], name=op.f("fk_ledger_entry_payment_id_payment")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger_entry")),
        sa.UniqueConstraint("payment_id", "kind", name=op.f("uq_ledger_entry_payment_id_kind")),
    )
    op.create_index("ix_ledger_entry_customer", "ledger_entry", ["customer_id", "currency"], unique=False)
    op.create_index("ix_ledger_entry_invoice_id", "ledger_entry", ["invoice_id"], unique=False)
    op.create_index(
        "uq_ledger_entry_balance_debit",
        "ledger_entry",
        ["invoice_id"],
        unique=True,
        postgresql_where=sa.text("kind = 'debit' AND payment_id IS NULL"),
    )
    op.execute(FUNCTIONS)


def downgrade() -> None:
    op.drop_index(
        "uq_ledger_entry_balance_debit",
        table_name="ledger_entry",
        postgresql_where=sa.text("kind = 'debit' AND payment_id IS NULL"),
    )
    op.drop_index("ix_ledger_entry_invoice_id", table_name="ledger_entry")
    op.drop_index("ix_ledger_entry_customer", table_name="ledger_entry")
    op.drop_table("ledger_entry")
    op.drop_index(
        "ix_inbound_event_waiting",
        table_name="inbound_event",
        postgresql_where=sa.text("processed_at IS NULL"),
    )
    op.drop_table("inbound_event")
    op.drop_index("uq_quote_live", table_name="quote", postgresql_where=sa.text("live"))
    op.drop_index("ix_quote_reserved_until", table_name="quote", postgresql_where=sa.text("live"))
    op.drop_index("ix_quote_invoice_id", table_name="quote")
    op.drop_table("quote")
    op.drop_index("ix_payment_waiting", table_name="payment", postgresql_where=sa.text("status = 'seen'"))
    op.drop_index(
        "ix_payment_uncredited",
        table_name="payment",
        postgresql_where=sa.text("status = 'confirmed' AND match = 'matched' AND credited_at IS NULL"),
    )
    op.drop_index("ix_payment_tx_hash", table_name="payment")
    op.drop_index("ix_payment_match", table_name="payment")
    op.drop_index("ix_payment_invoice_id", table_name="payment")
    op.drop_table("payment")
    op.drop_index(
        "uq_invoice_alive",
        table_name="invoice",
        postgresql_where=sa.text("status NOT IN ('void', 'expired')"),
    )
    op.drop_index("ix_invoice_subscription_id", table_name="invoice")
    op.drop_index("ix_invoice_status", table_name="invoice")
    op.drop_index("ix_invoice_expiring", table_name="invoice", postgresql_where=sa.text("status = 'open'"))
    op.drop_index(
        "ix_invoice_exception", table_name="invoice", postgresql_where=sa.text("exception <> 'none'")
    )
    op.drop_index("ix_invoice_customer_id", table_name="invoice")
    op.drop_table("invoice")
    op.drop_table("chain_block")
    op.drop_table("chain_cursor")
    op.execute("DROP FUNCTION ledger_entry_stands()")
    op.execute(sa.schema.DropSequence(sa.Sequence("invoice_number")))
