"""Quote what is still missing of an underpaid invoice, at the rate it was quoted at."""

from __future__ import annotations

from typing import Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from tenure.kit.money import Money
from tenure.payments import ledger
from tenure.payments.invoice_row import Invoice
from tenure.payments.quoting import ChainTerms, allot
from tenure.payments.rules import InvoiceStatus

_LAST: Final = text("""
    SELECT q.* FROM quote q WHERE q.invoice_id = :id ORDER BY q.id DESC LIMIT 1
""")


def requote(session: Session, invoice: Invoice) -> None:
    """An open invoice that was quoted on a chain has a newer quote for the rest; any other is as it was."""
    last = session.execute(_LAST, {"id": invoice.id}).first()
    missing = invoice.amount.amount_minor - ledger.applied(session, invoice.id)
    if last is None or invoice.status is not InvoiceStatus.OPEN or missing <= 0:
        return
    terms = ChainTerms(
        chain=last.chain,
        chain_id=last.chain_id,
        confirmations=last.confirmations,
        addresses=(last.shown_address,),
        asset=last.asset,
        contract=last.shown_contract,
        decimals=last.decimals,
        rate=last.rate,
    )
    allot(
        session,
        invoice_id=invoice.id,
        price=Money(missing, invoice.amount.currency),
        terms=terms,
        expires_at=last.expires_at,
        reserved_until=last.reserved_until,
    )
