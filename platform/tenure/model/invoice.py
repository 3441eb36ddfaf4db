"""Invoices and their quotes: what is asked for a period, and the exact amount that names it on a chain."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, Sequence, text
from sqlalchemy.dialects.postgresql import NUMERIC
from sqlalchemy.orm import Mapped, mapped_column

from tenure.model.base import Base, CreatedAt, IdText, Key

INVOICE_STATUSES = "'draft', 'open', 'paid', 'expired', 'void'"
EXCEPTIONS = "'none', 'underpaid', 'overpaid', 'late', 'reversed'"
METHODS = "'chain', 'provider', 'manual'"
UNITS: NUMERIC[Decimal] = NUMERIC(78, 0)

# Numbers are for people: they rise, and may have gaps where a transaction was rolled back.
invoice_number = Sequence("invoice_number", metadata=Base.metadata)


class Invoice(Base):
    """What is asked for one period of one subscription. At most one is alive for each."""

    __tablename__ = "invoice"

    id: Mapped[Key]
    # INV-000123, from the sequence.
    number: Mapped[str] = mapped_column(unique=True)
    subscription_id: Mapped[str] = mapped_column(IdText, ForeignKey("subscription.id"))
    customer_id: Mapped[str] = mapped_column(IdText, ForeignKey("customer.id"))
    # The period that is paid for, counted as in subscription.period_no.
    period_no: Mapped[int]
    purpose: Mapped[str] = mapped_column(server_default="period")
    # Who opened it: `request` (API, CLI, bot) or `renewal` (the job).
    origin: Mapped[str] = mapped_column(server_default="request")
    status: Mapped[str] = mapped_column(server_default="open")
    exception: Mapped[str] = mapped_column(server_default="none")
    amount_minor: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str]
    # Everything received for this invoice, also what went beyond it to the customer's balance.
    paid_minor: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    method: Mapped[str]
    provider: Mapped[str | None]
    # "chain:NAME" or "provider:NAME": where its payment would be seen; null when only people settle it.
    source: Mapped[str | None]
    # Domain time, all of these.
    opened_at: Mapped[datetime]
    due_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    # A payment up to here is taken although the invoice has expired.
    late_until: Mapped[datetime]
    paid_at: Mapped[datetime | None]
    closed_at: Mapped[datetime | None]
    # The secret part of the checkout page's address.
    token: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[CreatedAt]

    __table_args__ = (
        CheckConstraint(f"status IN ({INVOICE_STATUSES})", name="status"),
        CheckConstraint(f"exception IN ({EXCEPTIONS})", name="exception"),
        CheckConstraint(f"method IN ({METHODS})", name="method"),
        CheckConstraint("origin IN ('request', 'renewal')", name="origin"),
        CheckConstraint("amount_minor > 0 AND paid_minor >= 0", name="amounts"),
        CheckConstraint("(status = 'paid') = (paid_at IS NOT NULL)", name="paid_at"),
        CheckConstraint("opened_at < expires_at AND expires_at <= late_until", name="times"),
        Index(
            "uq_invoice_alive",
            "subscription_id",
            "period_no",
            "purpose",
            unique=True,
            postgresql_where=text("status NOT IN ('void', 'expired')"),
        ),
        Index("ix_invoice_subscription_id", "subscription_id", "id"),
        Index("ix_invoice_customer_id", "customer_id"),
        Index("ix_invoice_status", "status", "id"),
        Index("ix_invoice_exception", "exception", "id", postgresql_where=text("exception <> 'none'")),
        Index("ix_invoice_expiring", "expires_at", postgresql_where=text("status = 'open'")),
    )


class Quote(Base):
    """An amount of an asset that stands for one invoice at one address until it is free again."""

    __tablename__ = "quote"

    id: Mapped[Key]
    invoice_id: Mapped[str] = mapped_column(IdText, ForeignKey("invoice.id"))
    chain: Mapped[str]
    chain_id: Mapped[int] = mapped_column(BigInteger)
    asset: Mapped[str]
    contract: Mapped[str]
    decimals: Mapped[int]
    # Price of one unit in the invoice's currency.
    rate: Mapped[Decimal] = mapped_column(NUMERIC(38, 18))
    amount_units: Mapped[Decimal] = mapped_column(UNITS)
    # What paying it is worth, in the invoice's currency.
    amount_minor: Mapped[int] = mapped_column(BigInteger)
    # Lower case, as transfers have them; people see them as the settings spell them.
    address: Mapped[str]
    shown_address: Mapped[str]
    shown_contract: Mapped[str]
    confirmations: Mapped[int]
    expires_at: Mapped[datetime]
    # While it is live nobody else gets this amount here, so a late payer never pays a stranger's invoice.
    live: Mapped[bool] = mapped_column(server_default=text("true"))
    reserved_until: Mapped[datetime]
    created_at: Mapped[CreatedAt]

    __table_args__ = (
        CheckConstraint("amount_units > 0", name="amount_units"),
        CheckConstraint("rate > 0", name="rate"),
        Index(
            "uq_quote_live",
            "chain",
            "address",
            "contract",
            "amount_units",
            unique=True,
            postgresql_where=text("live"),
        ),
        Index("ix_quote_invoice_id", "invoice_id", "id"),
        Index("ix_quote_reserved_until", "reserved_until", postgresql_where=text("live")),
    )
