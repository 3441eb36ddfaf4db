"""Invoice rows under lock, and the events that tell about them.

Locks are taken in this order everywhere: payment, subscription, invoice, customer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import RowMapping, text
from sqlalchemy.orm import Session

from tenure.errors import NotFound
from tenure.events.append import NewEvent
from tenure.kit.money import Money
from tenure.payments.rules import InvoiceStatus, Method, Odd
from tenure.subscriptions.payable import set_payable
from tenure.subscriptions.row import Locked
from tenure.subscriptions.row import lock as lock_subscription

_COLUMNS: Final = """
    i.id, i.number, i.subscription_id, i.customer_id, i.period_no, i.origin, i.status, i.exception,
    i.amount_minor, i.currency, i.paid_minor, i.method, i.provider, i.source, i.expires_at, i.late_until
"""
_SUBSCRIPTION_OF: Final = text("SELECT subscription_id FROM invoice WHERE id = :id")
_LOCK: Final = text(f"SELECT {_COLUMNS} FROM invoice i WHERE i.id = :id FOR UPDATE")
_LOCK_ALIVE: Final = text(f"""
    SELECT {_COLUMNS} FROM invoice i
    WHERE i.subscription_id = :subscription_id AND i.period_no = :period_no
      AND i.status NOT IN ('void', 'expired') FOR UPDATE
""")
_PAYABLE: Final = text("""
    SELECT source, late_until FROM invoice
    WHERE subscription_id = :id AND status = 'open' AND source IS NOT NULL ORDER BY late_until DESC LIMIT 1
""")
_CLOSE: Final = text("""
    UPDATE invoice
    SET status = :status, exception = :exception, paid_minor = :paid_minor, updated_at = clock_timestamp(),
        paid_at = CASE WHEN :status = 'paid' THEN coalesce(paid_at, tenure_now()) END,
        closed_at = CASE WHEN :status <> 'open' THEN coalesce(closed_at, tenure_now()) END
    WHERE id = :id
""")
# From here on the amount is kept for late payers only.
_KEEP_FOR_LATE: Final = text("""
    UPDATE quote SET reserved_until = tenure_now() + :window WHERE invoice_id = :id AND live
""")


@dataclass(frozen=True, slots=True)
class Invoice:
    """An invoice that this transaction has locked."""

    id: str
    number: str
    subscription_id: str
    customer_id: str
    period_no: int
    origin: str
    status: InvoiceStatus
    exception: Odd
    amount: Money
    paid_minor: int
    method: Method
    provider: str | None
    source: str | None
    expires_at: datetime
    late_until: datetime


def _from(values: RowMapping) -> Invoice:
    return Invoice(
        id=values["id"],
        number=values["number"],
        subscription_id=values["subscription_id"],
        customer_id=values["customer_id"],
        period_no=values["period_no"],
        origin=values["origin"],
        status=InvoiceStatus(values["status"]),
        exception=Odd(values["exception"]),
        amount=Money(values["amount_minor"], values["currency"]),
        paid_minor=values["paid_minor"],
        method=Method(values["method"]),
        provider=values["provider"],
        source=values["source"],
        expires_at=values["expires_at"],
        late_until=values["late_until"],
    )


def lock(session: Session, invoice_id: str) -> tuple[Locked, Invoice]:
    """Lock the invoice's subscription, then the invoice. Raises NotFound."""
    subscription_id = session.execute(_SUBSCRIPTION_OF, {"id": invoice_id}).scalar()
    if subscription_id is None:
        raise NotFound(f"there is no invoice {invoice_id!r}")
    subscription = lock_subscription(session, subscription_id)
    return subscription, _from(session.execute(_LOCK, {"id": invoice_id}).mappings().one())


def lock_alive(session: Session, subscription_id: str, period_no: int) -> Invoice | None:
    """The period's invoice that is neither void nor expired, locked after its subscription."""
    row = session.execute(_LOCK_ALIVE, {"subscription_id": subscription_id, "period_no": period_no})
    found = row.mappings().first()
    return _from(found) if found is not None else None


def write(
    session: Session, invoice: Invoice, *, status: InvoiceStatus, exception: Odd, paid_minor: int
) -> Invoice:
    """The invoice as it stands after the change; its subscription's `payable_until` follows."""
    session.execute(
        _CLOSE,
        {"id": invoice.id, "status": status.value, "exception": exception.value, "paid_minor": paid_minor},
    )
    if status is not InvoiceStatus.OPEN and invoice.status is InvoiceStatus.OPEN:
        session.execute(_KEEP_FOR_LATE, {"id": invoice.id, "window": invoice.late_until - invoice.expires_at})
    follow_payable(session, invoice.subscription_id)
    values = {name: getattr(invoice, name) for name in Invoice.__slots__}
    return Invoice(**{**values, "status": status, "exception": exception, "paid_minor": paid_minor})


def follow_payable(session: Session, subscription_id: str) -> None:
    """Write on the subscription whether, until when and where it can be paid now."""
    row = session.execute(_PAYABLE, {"id": subscription_id}).first()
    set_payable(session, subscription_id, row.source if row else None, row.late_until if row else None)


def facts(invoice: Invoice) -> dict[str, Any]:
    """What events tell about an invoice."""
    return {
        "invoice_id": invoice.id,
        "number": invoice.number,
        "subscription_id": invoice.subscription_id,
        "customer_id": invoice.customer_id,
        "period_no": invoice.period_no,
        "status": invoice.status.value,
        "exception": invoice.exception.value,
        "amount": invoice.amount.as_dict(),
        "paid": Money(invoice.paid_minor, invoice.amount.currency).as_dict(),
        "method": invoice.method.value,
    }


def invoice_event(
    type_: str, invoice: Invoice, *, iteration_id: str | None = None, data: Mapping[str, Any] | None = None
) -> NewEvent:
    """An event about an invoice: on `payments`, on its own channel and on its subscription's."""
    return NewEvent(
        type=type_,
        subject=f"invoice:{invoice.id}",
        channels=("payments", f"invoice:{invoice.id}", f"subscription:{invoice.subscription_id}"),
        data={**facts(invoice), **(data or {})},
        subscription_id=invoice.subscription_id,
        iteration_id=iteration_id,
    )
