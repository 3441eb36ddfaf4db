"""Expire open invoices whose time is over, once it is certain that no payment came in time.

An invoice that is payable through a chain expires only after a complete poll that began after its end: while
the chain cannot be seen it stays open. One whose payment is seen and waits for confirmations stays open too.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from tenure.iterations.run import Run
from tenure.payments import invoice_row
from tenure.payments.close_invoice import close_invoice
from tenure.payments.invoice_row import Invoice
from tenure.payments.rules import InvoiceStatus

_MAY_EXPIRE: Final = """(
    NOT EXISTS (SELECT 1 FROM payment p WHERE p.invoice_id = i.id AND p.credited_at IS NULL
                AND p.status IN ('seen', 'confirmed'))
    AND (i.source IS NULL OR i.source NOT LIKE 'chain:%'
         OR EXISTS (SELECT 1 FROM payment_source s WHERE s.name = i.source AND s.polled_at >= i.expires_at))
)"""
_ONE: Final = text(f"SELECT {_MAY_EXPIRE} FROM invoice i WHERE i.id = :id")
_DUE: Final = text(f"""
    SELECT i.id FROM invoice i
    WHERE i.status = 'open' AND i.expires_at <= tenure_now() AND {_MAY_EXPIRE}
    ORDER BY i.expires_at LIMIT :batch
""")
# The amounts of closed invoices are free again when their late window is over.
_FREE_AMOUNTS: Final = text("""
    UPDATE quote q SET live = false
    WHERE q.id IN (
        SELECT q.id FROM quote q JOIN invoice i ON i.id = q.invoice_id
        WHERE q.live AND q.reserved_until <= tenure_now() AND i.status <> 'open'
        LIMIT :batch FOR UPDATE OF q SKIP LOCKED)
""")


def expire_one(session: Session, invoice: Invoice, *, now: datetime, iteration_id: str | None = None) -> bool:
    """Whether the locked invoice is expired afterwards."""
    if invoice.status is not InvoiceStatus.OPEN or invoice.expires_at > now:
        return False
    if not session.execute(_ONE, {"id": invoice.id}).scalar_one():
        return False
    close_invoice(session, invoice, InvoiceStatus.EXPIRED, iteration_id=iteration_id)
    return True


def expire_invoices(run: Run) -> int:
    """Expire what is due, each in a transaction of its own, and free amounts; how many expired."""
    with run.transaction() as session:
        due = list(session.scalars(_DUE, {"batch": run.batch}))
        session.execute(_FREE_AMOUNTS, {"batch": run.batch})
    expired = 0
    for invoice_id in due:
        if not run.has_time:
            break
        with run.transaction() as session:
            subscription, invoice = invoice_row.lock(session, invoice_id)
            expired += expire_one(session, invoice, now=subscription.now, iteration_id=run.iteration_id)
    return expired
