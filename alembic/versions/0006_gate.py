"""The gate: forced breakers, updates of the Telegram bot, signing keys, and a second live webhook secret."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_MOMENT = postgresql.TIMESTAMP(timezone=True)
_NOW = sa.text("clock_timestamp()")


def upgrade() -> None:
    op.create_table(
        "breaker_override",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("until", _MOMENT, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("set_by", sa.Text(), nullable=False),
        sa.Column("set_at", _MOMENT, server_default=_NOW, nullable=False),
        sa.CheckConstraint("state IN ('open', 'closed')", name=op.f("ck_breaker_override_state")),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_breaker_override")),
    )
    op.create_table(
        "telegram_update",
        sa.Column("update_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("body", postgresql.BYTEA(), nullable=False),
        sa.Column("received_at", _MOMENT, server_default=_NOW, nullable=False),
        sa.Column("processed_at", _MOMENT, nullable=True),
        sa.Column("result", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "result IN ('blocked', 'unblocked', 'ignored', 'unusable')",
            name=op.f("ck_telegram_update_result"),
        ),
        sa.CheckConstraint(
            "(processed_at IS NULL) = (result IS NULL)", name=op.f("ck_telegram_update_processed_whole")
        ),
        sa.PrimaryKeyConstraint("update_id", name=op.f("pk_telegram_update")),
    )
    op.create_index(
        "ix_telegram_update_waiting",
        "telegram_update",
        ["update_id"],
        postgresql_where=sa.text("processed_at IS NULL"),
    )
    op.create_table(
        "signing_key",
        sa.Column("kid", sa.Text(collation="C"), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=True),
        sa.Column("created_at", _MOMENT, server_default=_NOW, nullable=False),
        sa.Column("retired_at", _MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("kid", name=op.f("pk_signing_key")),
    )
    op.create_index(
        "uq_signing_key_current",
        "signing_key",
        [sa.text("(retired_at IS NULL)")],
        unique=True,
        postgresql_where=sa.text("retired_at IS NULL"),
    )
    # The version before this one signs with the new secret alone, which is right as well.
    op.add_column("webhook_endpoint", sa.Column("previous_sealed", sa.LargeBinary(), nullable=True))
    op.add_column("webhook_endpoint", sa.Column("previous_until", _MOMENT, nullable=True))
    op.create_check_constraint(
        op.f("ck_webhook_endpoint_previous_whole"),
        "webhook_endpoint",
        "(previous_sealed IS NULL) = (previous_until IS NULL)",
    )


def downgrade() -> None:
    op.drop_constraint(op.f("ck_webhook_endpoint_previous_whole"), "webhook_endpoint", type_="check")
    op.drop_column("webhook_endpoint", "previous_until")
    op.drop_column("webhook_endpoint", "previous_sealed")
    op.drop_table("signing_key")
    op.drop_table("telegram_update")
    op.drop_table("breaker_override")
