"""Work out what stored webhooks mean: a confirmed payment becomes a payment and is credited, once.

Found by state. Each message is processed within its own savepoint together with the mark that it was; the
provider's reference is the payment's key, so that the same payment told twice under two message ids counts
once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.exc import DataError, IntegrityError
from sqlalchemy.orm import Session

from tenure.alerts.raise_alert import raise_alert
from tenure.errors import TenureError
from tenure.events.append import append
from tenure.iterations.run import Run
from tenure.kit.ids import is_id, new_id
from tenure.kit.logging import get_logger
from tenure.payments import payment_row
from tenure.payments.credit import credit
from tenure.payments.payment_row import follow_suspense_alert, payment_event

_log = get_logger(__name__)

_BATCH: Final = 25
_CONFIRMED: Final = "payment.confirmed"
_MOST_MINOR: Final = 10**15
_LONGEST_REF: Final = 255
_CURRENCY: Final = re.compile(r"[A-Z]{3}")

_WAITING: Final = text("""
    SELECT id, provider, event_id, body FROM inbound_event
    WHERE processed_at IS NULL AND id <> ALL(:skip)
    ORDER BY id LIMIT :batch FOR UPDATE SKIP LOCKED
""")
_PROCESSED: Final = text("""
    UPDATE inbound_event SET processed_at = clock_timestamp(), result = :result, note = :note,
                             payment_id = :payment_id
    WHERE id = :id
""")
_INVOICE: Final = text("SELECT subscription_id FROM invoice WHERE id = :id")
_ADD: Final = text("""
    INSERT INTO payment (id, provider, provider_ref, amount_minor, currency, invoice_id, status, match, note,
                         seen_at, confirmed_at)
    VALUES (:id, :provider, :ref, :amount_minor, :currency, CAST(:invoice_id AS text), 'confirmed',
            CASE WHEN CAST(:invoice_id AS text) IS NULL THEN 'unmatched' ELSE 'matched' END,
            CASE WHEN CAST(:invoice_id AS text) IS NULL THEN 'unknown_invoice' END,
            tenure_now(), tenure_now())
    ON CONFLICT (provider, provider_ref) DO NOTHING RETURNING id
""")


class _Unusable(Exception):
    """The message says nothing that could be processed."""


@dataclass(frozen=True, slots=True)
class _Told:
    """A provider's word that a payment is confirmed."""

    invoice_id: str
    ref: str
    amount_minor: int
    currency: str


@dataclass(frozen=True, slots=True)
class _Result:
    """What became of a message."""

    result: str
    note: str | None = None
    payment_id: str | None = None


def process_inbound(run: Run) -> int:
    """Everything stored is processed; how many messages were."""
    failed: list[str] = []
    total = 0
    while run.has_time:
        with run.transaction() as session:
            rows = session.execute(_WAITING, {"batch": _BATCH, "skip": failed}).all()
            before = len(failed)
            failed += [
                row.id
                for row in rows
                if not _process(session, row.id, row.provider, bytes(row.body), run.iteration_id)
            ]
        total += len(rows) - (len(failed) - before)
        if len(rows) < _BATCH:
            break
    run.counters.seen += total + len(failed)
    run.counters.done += total
    run.counters.failed += len(failed)
    return total


def _process(session: Session, id_: str, provider: str, body: bytes, iteration_id: str) -> bool:
    try:
        with session.begin_nested():
            done = _meaning(session, provider, body, iteration_id)
            session.execute(
                _PROCESSED,
                {"id": id_, "result": done.result, "note": done.note, "payment_id": done.payment_id},
            )
    except (TenureError, IntegrityError, DataError) as error:
        _log.error("webhook.not_processed", inbound_id=id_, error_type=type(error).__name__)
        raise_alert(
            session,
            rule="webhook_not_processed",
            subject=f"inbound:{id_}",
            severity="critical",
            message=f"a webhook of {provider} could not be processed ({type(error).__name__})",
        )
        return False
    return True


def _meaning(session: Session, provider: str, body: bytes, iteration_id: str) -> _Result:
    try:
        told = _parse(body)
    except _Unusable as error:
        raise_alert(
            session,
            rule="webhook_unusable",
            subject=f"provider:{provider}",
            message=f"a signed webhook of {provider} cannot be used: {error}",
        )
        return _Result("unusable", note=str(error))
    if told is None:
        return _Result("ignored", note="another type")
    subscription_id = session.execute(_INVOICE, {"id": told.invoice_id}).scalar()
    payment_id = new_id("pay")
    added = session.execute(
        _ADD,
        {
            "id": payment_id,
            "provider": provider,
            "ref": told.ref,
            "amount_minor": told.amount_minor,
            "currency": told.currency,
            "invoice_id": told.invoice_id if subscription_id is not None else None,
        },
    )
    if added.first() is None:
        return _Result("duplicate", note="the provider's reference is known")
    payment = payment_row.lock(session, payment_id)
    append(
        session,
        [
            payment_event(
                "payment.confirmed", payment, subscription_id=subscription_id, iteration_id=iteration_id
            )
        ],
    )
    if subscription_id is not None:
        credit(session, payment, iteration_id=iteration_id)
    else:
        append(
            session,
            [
                payment_event(
                    "payment.unmatched", payment, iteration_id=iteration_id, data={"note": "unknown_invoice"}
                )
            ],
        )
        follow_suspense_alert(session)
    return _Result("payment", payment_id=payment_id)


def _parse(body: bytes) -> _Told | None:
    """What the message says; None for another type than a confirmed payment."""
    try:
        told: Any = json.loads(body)
    except ValueError:
        raise _Unusable("it is not JSON") from None
    if not isinstance(told, Mapping) or not isinstance(told.get("type"), str):
        raise _Unusable("it has no type")
    if told["type"] != _CONFIRMED:
        return None
    amount, currency, ref = told.get("amount_minor"), told.get("currency"), told.get("provider_ref")
    if not isinstance(amount, int) or isinstance(amount, bool) or not 0 < amount <= _MOST_MINOR:
        raise _Unusable("amount_minor is no positive integer")
    if not isinstance(currency, str) or not _CURRENCY.fullmatch(currency):
        raise _Unusable("currency is no ISO 4217 code")
    if not isinstance(ref, str) or not 0 < len(ref) <= _LONGEST_REF or "\x00" in ref:
        raise _Unusable("provider_ref is missing")
    invoice_id = told.get("invoice_id")
    if not isinstance(invoice_id, str) or not is_id(invoice_id, "inv"):
        # Money came in all the same: a person finds it in suspense.
        invoice_id = ""
    return _Told(invoice_id, ref, amount, currency)
