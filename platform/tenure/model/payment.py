"""Payments, the ledger of money, and the inbox of providers' messages."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import BYTEA
from sqlalchemy.orm import Mapped, mapped_column

from tenure.model.base import Base, CreatedAt, IdText, JsonObject, Key
from tenure.model.invoice import UNITS

PAYMENT_STATUSES = "'seen', 'confirmed', 'orphaned', 'reversed', 'refunded'"
MATCHES = "'matched', 'unmatched', 'ignored'"
ENTRY_KINDS = "'credit', 'debit', 'reversal', 'refund', 'adjustment'"


class Payment(Base):
    """Money that came in, by its key at the place where it came in. Without an invoice it is in suspense."""

    __tablename__ = "payment"

    id: Mapped[Key]
    # On a chain: (chain, tx_hash, ordinal) is the key; block and log index move in a reorg.
    chain: Mapped[str | None]
    tx_hash: Mapped[str | None]
    ordinal: Mapped[int | None]
    log_index: Mapped[int | None]
    block_number: Mapped[int | None] = mapped_column(BigInteger)
    block_hash: Mapped[str | None]
    asset: Mapped[str | None]
    contract: Mapped[str | None]
    decimals: Mapped[int | None]
    amount_units: Mapped[Decimal | None] = mapped_column(UNITS)
    to_address: Mapped[str | None]
    confirmations: Mapped[int] = mapped_column(server_default=text("0"))
    required: Mapped[int] = mapped_column(server_default=text("0"))
    # At a provider: its name (`manual` for money settled by hand) and its own reference.
    provider: Mapped[str | None]
    provider_ref: Mapped[str | None]
    # Its worth; null until it is known which rate holds.
    amount_minor: Mapped[int | None] = mapped_column(BigInteger)
    currency: Mapped[str | None]
    invoice_id: Mapped[str | None] = mapped_column(IdText, ForeignKey("invoice.id"))
    status: Mapped[str] = mapped_column(server_default="seen")
    match: Mapped[str] = mapped_column(server_default="unmatched")
    # Why it is in suspense, or was ignored.
    note: Mapped[str | None]
    # Domain time.
    seen_at: Mapped[datetime]
    confirmed_at: Mapped[datetime | None]
    # Set in the transaction that wrote its ledger entries.
    credited_at: Mapped[datetime | None]
    created_at: Mapped[CreatedAt]

    __table_args__ = (
        UniqueConstraint("chain", "tx_hash", "ordinal"),
        UniqueConstraint("provider", "provider_ref"),
        CheckConstraint(f"status IN ({PAYMENT_STATUSES})", name="status"),
        CheckConstraint(f"match IN ({MATCHES})", name="match"),
        CheckConstraint("(match = 'matched') = (invoice_id IS NOT NULL)", name="matched_has_invoice"),
        CheckConstraint("(chain IS NULL) <> (provider IS NULL)", name="one_origin"),
        CheckConstraint(
            "chain IS NULL OR (tx_hash IS NOT NULL AND ordinal IS NOT NULL AND amount_units IS NOT NULL)",
            name="chain_key",
        ),
        CheckConstraint("provider IS NULL OR provider_ref IS NOT NULL", name="provider_key"),
        Index("ix_payment_invoice_id", "invoice_id", "id"),
        Index("ix_payment_match", "match", "id"),
        Index("ix_payment_tx_hash", "tx_hash"),
        Index("ix_payment_waiting", "chain", "block_number", postgresql_where=text("status = 'seen'")),
        Index(
            "ix_payment_uncredited",
            "id",
            postgresql_where=text("status = 'confirmed' AND match = 'matched' AND credited_at IS NULL"),
        ),
    )


class LedgerEntry(Base):
    """One movement on a customer's account. Rows are only ever added (a trigger refuses anything else).

    A payment credits the account once; what it pays of its invoice is a debit. The sum is the customer's
    balance.
    """

    __tablename__ = "ledger_entry"

    id: Mapped[Key]
    customer_id: Mapped[str] = mapped_column(IdText, ForeignKey("customer.id"))
    payment_id: Mapped[str | None] = mapped_column(IdText, ForeignKey("payment.id"))
    invoice_id: Mapped[str | None] = mapped_column(IdText, ForeignKey("invoice.id"))
    kind: Mapped[str]
    amount_minor: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str]
    iteration_id: Mapped[str | None] = mapped_column(IdText)
    # Domain time of the transaction that wrote it.
    at: Mapped[datetime] = mapped_column(server_default=text("tenure_now()"))
    created_at: Mapped[CreatedAt]

    __table_args__ = (
        UniqueConstraint("payment_id", "kind"),
        CheckConstraint(f"kind IN ({ENTRY_KINDS})", name="kind"),
        CheckConstraint(
            "(kind = 'credit' AND amount_minor >= 0) OR (kind = 'debit' AND amount_minor <= 0)"
            " OR (kind IN ('reversal', 'refund') AND amount_minor <= 0) OR kind = 'adjustment'",
            name="sign",
        ),
        # From the balance an invoice is paid once.
        Index(
            "uq_ledger_entry_balance_debit",
            "invoice_id",
            unique=True,
            postgresql_where=text("kind = 'debit' AND payment_id IS NULL"),
        ),
        Index("ix_ledger_entry_customer", "customer_id", "currency"),
        Index("ix_ledger_entry_invoice_id", "invoice_id"),
    )


class InboundEvent(Base):
    """A provider's message as it came, stored before anything is done about it."""

    __tablename__ = "inbound_event"

    id: Mapped[Key]
    provider: Mapped[str]
    # The sender's id of the message: the same id is the same message.
    event_id: Mapped[str]
    body: Mapped[bytes] = mapped_column(BYTEA())
    headers: Mapped[JsonObject]
    received_at: Mapped[CreatedAt]
    processed_at: Mapped[datetime | None]
    # What became of it: `payment`, `duplicate`, `ignored` (another type), `unusable` (note says why).
    result: Mapped[str | None]
    note: Mapped[str | None]
    payment_id: Mapped[str | None] = mapped_column(IdText, ForeignKey("payment.id"))

    __table_args__ = (
        UniqueConstraint("provider", "event_id"),
        CheckConstraint("result IN ('payment', 'duplicate', 'ignored', 'unusable')", name="result"),
        CheckConstraint("(processed_at IS NULL) = (result IS NULL)", name="processed_whole"),
        Index("ix_inbound_event_waiting", "id", postgresql_where=text("processed_at IS NULL")),
    )
