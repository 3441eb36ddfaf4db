"""How often jobs started, ended and were skipped: kept up from the events, so that nobody counts history."""

from __future__ import annotations

import sqlalchemy as sa

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "tally",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("job", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), server_default="", nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.Column("seconds", sa.Double(), server_default=sa.text("0"), nullable=False),
        sa.CheckConstraint("kind IN ('started', 'ended', 'skipped')", name=op.f("ck_tally_kind")),
        sa.PrimaryKeyConstraint("kind", "job", "detail", name=op.f("pk_tally")),
    )
    op.create_table(
        "tally_mark",
        sa.Column("one", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("seq", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.CheckConstraint("one", name=op.f("ck_tally_mark_one_row")),
        sa.PrimaryKeyConstraint("one", name=op.f("pk_tally_mark")),
    )
    op.execute("INSERT INTO tally_mark DEFAULT VALUES")


def downgrade() -> None:
    op.drop_table("tally_mark")
    op.drop_table("tally")
