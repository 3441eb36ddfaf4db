"""The job `auto_renewal`: a day before a period ends, opens the next one's invoice and pays it if it can.

It is paid from the customer's balance when that suffices, otherwise it is announced. Due work is found by
state: live subscriptions that renew by themselves, end within the day, and have no invoice for the next
period; and open invoices of such subscriptions for which the balance suffices by now.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import text
from sqlalchemy.exc import DataError, IntegrityError
from sqlalchemy.orm import Session

from tenure.alerts.raise_alert import raise_alert
from tenure.audit.record import SYSTEM
from tenure.errors import TenureError
from tenure.events.append import append
from tenure.iterations.run import Run
from tenure.kit.logging import get_logger
from tenure.kit.money import Money
from tenure.payments import invoice_row, ledger
from tenure.payments.expire_invoices import expire_invoices
from tenure.payments.invoice_row import Invoice, invoice_event
from tenure.payments.ledger import Entry
from tenure.payments.open_invoice import Wanted, open_invoice
from tenure.payments.rules import InvoiceStatus, Method, Odd
from tenure.settings import Settings
from tenure.subscriptions.announce import Kind, announce
from tenure.subscriptions.credit_period import credit_period

_log = get_logger(__name__)

# Opening an invoice takes several statements: a smaller batch keeps row locks short.
_BATCH: Final = 50

_SOON: Final = """
    s.status IN ('trialing', 'active', 'past_due') AND s.auto_renew AND NOT s.cancel_at_period_end
    AND s.paid_periods = 0 AND s.period_end <= tenure_now() + interval '24 hours'
"""
# A renewal invoice that has expired or was voided is not opened again: that was somebody's answer.
_TO_OPEN: Final = text(f"""
    SELECT s.id, s.plan_snapshot->'price'->>'currency' AS currency FROM subscription s
    WHERE {_SOON} AND s.id <> ALL(:skip)
      AND NOT EXISTS (
          SELECT 1 FROM invoice i
          WHERE i.subscription_id = s.id AND i.period_no = s.period_no + s.paid_periods + 1
            AND (i.status NOT IN ('void', 'expired') OR i.origin = 'renewal'))
    ORDER BY s.period_end LIMIT :batch FOR UPDATE OF s SKIP LOCKED
""")
_TO_PAY: Final = text(f"""
    SELECT i.id FROM subscription s
    JOIN invoice i ON i.subscription_id = s.id AND i.period_no = s.period_no + s.paid_periods + 1
    WHERE {_SOON} AND i.status = 'open' AND i.paid_minor = 0
      AND NOT EXISTS (SELECT 1 FROM payment p WHERE p.invoice_id = i.id AND p.credited_at IS NULL
                      AND p.status IN ('seen', 'confirmed'))
      AND i.amount_minor <= (SELECT coalesce(sum(l.amount_minor), 0) FROM ledger_entry l
                             WHERE l.customer_id = i.customer_id AND l.currency = i.currency)
    LIMIT :batch
""")


def run(run: Run, settings: Settings) -> None:
    """Open and pay what is due, and expire invoices whose time is over."""
    failed: list[str] = []
    while run.has_time and _open_batch(run, settings, failed) == min(_BATCH, run.batch):
        continue
    with run.transaction() as session:
        payable = list(session.scalars(_TO_PAY, {"batch": run.batch}))
    for invoice_id in payable:
        if not run.has_time:
            break
        with run.transaction() as session:
            if pay_from_balance(session, invoice_id, iteration_id=run.iteration_id):
                run.counters.done += 1
    expire_invoices(run)


def _open_batch(run: Run, settings: Settings, failed: list[str]) -> int:
    with run.transaction() as session:
        rows = session.execute(_TO_OPEN, {"batch": min(_BATCH, run.batch), "skip": failed}).all()
        bad = [
            row.id for row in rows if not _renew(session, settings, row.id, row.currency, run.iteration_id)
        ]
    failed += bad
    run.counters.seen += len(rows)
    run.counters.done += len(rows) - len(bad)
    run.counters.failed += len(bad)
    return len(rows)


def _renew(
    session: Session, settings: Settings, subscription_id: str, currency: str, iteration_id: str
) -> bool:
    try:
        with session.begin_nested():
            opened = open_invoice(
                session,
                settings,
                subscription_id=subscription_id,
                wanted=preferred_way(settings, currency),
                actor=SYSTEM,
                origin="renewal",
                iteration_id=iteration_id,
            )
            if not pay_from_balance(session, opened.invoice_id, iteration_id=iteration_id):
                _announce(session, opened.invoice_id, iteration_id)
    except (TenureError, IntegrityError, DataError) as error:
        _log.error("renewal.failed", subscription_id=subscription_id, error_type=type(error).__name__)
        raise_alert(
            session,
            rule="renewal_failed",
            subject=f"subscription:{subscription_id}",
            message=f"the renewal invoice could not be opened ({type(error).__name__})",
        )
        return False
    return True


def preferred_way(settings: Settings, currency: str) -> Wanted:
    """How a renewal is to be paid: on the first chain that has a rate, else at a provider, else by hand."""
    for chain in settings.chains:
        for asset in chain.assets:
            if asset.contract is not None and currency in settings.rates.get(asset.symbol, {}):
                return Wanted(Method.CHAIN, chain=chain.name, asset=asset.symbol)
    for provider in settings.payment_providers:
        if provider.kind == "hmac":
            return Wanted(Method.PROVIDER, provider=provider.name)
    return Wanted(Method.MANUAL)


def pay_from_balance(session: Session, invoice_id: str, *, iteration_id: str | None = None) -> bool:
    """Whether the open invoice was paid in full from its customer's balance."""
    subscription, invoice = invoice_row.lock(session, invoice_id)
    if invoice.status is not InvoiceStatus.OPEN or invoice.paid_minor > 0:
        return False
    price = invoice.amount
    if ledger.locked_balance(session, invoice.customer_id, price.currency) < price.amount_minor:
        return False
    debited = ledger.enter(
        session,
        Entry.DEBIT,
        Money(-price.amount_minor, price.currency),
        customer_id=invoice.customer_id,
        invoice_id=invoice_id,
        iteration_id=iteration_id,
    )
    if not debited:
        return False
    paid = invoice_row.write(
        session, invoice, status=InvoiceStatus.PAID, exception=Odd.NONE, paid_minor=price.amount_minor
    )
    append(
        session,
        [invoice_event("invoice.paid", paid, iteration_id=iteration_id, data={"from_balance": True})],
    )
    credit_period(session, subscription_id=subscription.id, invoice_id=invoice_id, iteration_id=iteration_id)
    announce(
        session,
        subscription_id=subscription.id,
        kind=Kind.PAYMENT_CONFIRMED,
        ref=invoice_id,
        data={**_about(paid), "from_balance": True},
        iteration_id=iteration_id,
    )
    return True


def _announce(session: Session, invoice_id: str, iteration_id: str) -> None:
    subscription, invoice = invoice_row.lock(session, invoice_id)
    announce(
        session,
        subscription_id=subscription.id,
        kind=Kind.TRIAL_ENDING if subscription.state.is_trial else Kind.PERIOD_ENDING,
        ref=invoice_id,
        data={**_about(invoice), "renewal": True},
        iteration_id=iteration_id,
    )


def _about(invoice: Invoice) -> dict[str, object]:
    return {
        "invoice_id": invoice.id,
        "number": invoice.number,
        "amount": invoice.amount.as_dict(),
        "method": invoice.method.value,
    }
