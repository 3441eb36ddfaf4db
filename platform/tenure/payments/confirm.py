"""Confirm payments that lie deep enough in their chain, and credit them.

Due work is found by state: what is seen and deep enough, whenever it got there. Each payment is confirmed and
credited within its own savepoint, so that one that fails holds up no other.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import text
from sqlalchemy.exc import DataError, IntegrityError
from sqlalchemy.orm import Session

from tenure.alerts.raise_alert import raise_alert
from tenure.errors import TenureError
from tenure.events.append import append
from tenure.iterations.run import Run
from tenure.kit import crash
from tenure.kit.logging import get_logger
from tenure.payments import payment_row
from tenure.payments.credit import credit
from tenure.payments.orphan import restore
from tenure.payments.payment_row import COLUMNS, Payment, payment_event, payment_from
from tenure.payments.rules import confirmations

_log = get_logger(__name__)

# Small batches: a payer waits for the commit.
_BATCH: Final = 25

_DEEP_ENOUGH: Final = text(f"""
    SELECT {COLUMNS}, c.head_block FROM payment p JOIN chain_cursor c ON c.chain = p.chain
    WHERE p.chain = :chain AND p.status = 'seen' AND p.block_number <= c.head_block - p.required + 1
      AND p.block_number < c.next_block AND p.id <> ALL(:skip)
    ORDER BY p.invoice_id NULLS FIRST, p.id LIMIT :batch FOR UPDATE OF p SKIP LOCKED
""")
_CONFIRMED: Final = text("""
    UPDATE payment SET status = 'confirmed', confirmed_at = tenure_now(), confirmations = :confirmations
    WHERE id = :id
""")
_SUBSCRIPTION: Final = text("SELECT subscription_id FROM invoice WHERE id = :id")


def confirm(run: Run, chain: str) -> int:
    """Everything of this chain that is deep enough is confirmed and credited; how many were."""
    failed: list[str] = []
    total = 0
    while run.has_time:
        with run.transaction() as session:
            rows = session.execute(_DEEP_ENOUGH, {"chain": chain, "batch": _BATCH, "skip": failed})
            found = rows.mappings().all()
            before = len(failed)
            for row in found:
                values = dict(row)
                head = values.pop("head_block")
                payment = payment_from(values)
                if not _confirm_one(session, payment, head, run.iteration_id):
                    failed.append(payment.id)
            if found:
                crash.point("watch.credited")
        total += len(found) - (len(failed) - before)
        if len(found) < _BATCH:
            break
    run.counters.done += total
    run.counters.failed += len(failed)
    return total


def _confirm_one(session: Session, payment: Payment, head: int, iteration_id: str) -> bool:
    depth = confirmations(head, payment.block_number or 0)
    try:
        with session.begin_nested():
            session.execute(_CONFIRMED, {"id": payment.id, "confirmations": depth})
            confirmed = payment_row.lock(session, payment.id)
            append(
                session,
                [
                    payment_event(
                        "payment.confirmed",
                        confirmed,
                        subscription_id=_subscription_of(session, confirmed),
                        iteration_id=iteration_id,
                    )
                ],
            )
            if confirmed.match == "matched":
                if confirmed.credited_at is not None:
                    restore(session, confirmed, iteration_id=iteration_id)
                else:
                    credit(session, confirmed, iteration_id=iteration_id)
    except (TenureError, IntegrityError, DataError) as error:
        _log.error("payment.not_credited", payment_id=payment.id, error_type=type(error).__name__)
        raise_alert(
            session,
            rule="payment_not_credited",
            subject=f"payment:{payment.id}",
            severity="critical",
            message=f"payment {payment.id} is confirmed but could not be credited ({type(error).__name__})",
        )
        return False
    return True


def _subscription_of(session: Session, payment: Payment) -> str | None:
    if payment.invoice_id is None:
        return None
    found: str = session.execute(_SUBSCRIPTION, {"id": payment.invoice_id}).scalar_one()
    return found
