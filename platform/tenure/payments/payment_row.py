"""Payment rows under lock, and the events that tell about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from tenure.alerts.raise_alert import raise_alert, resolve_alert
from tenure.errors import NotFound
from tenure.events.append import NewEvent, append
from tenure.kit.money import from_units

SUSPENSE_RULE: Final = "payments_in_suspense"
IN_FLIGHT: Final = "payment_in_flight"

COLUMNS: Final = """
    p.id, p.chain, p.tx_hash, p.ordinal, p.block_number, p.asset, p.contract, p.decimals, p.amount_units,
    p.confirmations, p.required, p.provider, p.provider_ref, p.amount_minor, p.currency, p.invoice_id,
    p.status, p.match, p.note, p.seen_at, p.credited_at
"""
_LOCK: Final = text(f"SELECT {COLUMNS} FROM payment p WHERE p.id = :id FOR UPDATE")
_SUSPEND: Final = text("""
    UPDATE payment SET match = 'unmatched', invoice_id = NULL, note = :note WHERE id = :id
""")
_IN_SUSPENSE: Final = text("""
    SELECT count(*) FROM payment WHERE match = 'unmatched' AND status IN ('seen', 'confirmed')
""")


@dataclass(frozen=True, slots=True)
class Payment:
    """A payment that this transaction has locked."""

    id: str
    chain: str | None
    tx_hash: str | None
    ordinal: int | None
    block_number: int | None
    asset: str | None
    contract: str | None
    decimals: int | None
    amount_units: int | None
    confirmations: int
    required: int
    provider: str | None
    provider_ref: str | None
    amount_minor: int | None
    currency: str | None
    invoice_id: str | None
    status: str
    match: str
    note: str | None
    seen_at: datetime
    credited_at: datetime | None


def payment_from(values: Mapping[str, Any]) -> Payment:
    """From a row of a statement that selected COLUMNS."""
    units = values["amount_units"]
    return Payment(**{**values, "amount_units": int(units) if units is not None else None})


def lock(session: Session, payment_id: str) -> Payment:
    """Lock one payment. Raises NotFound."""
    row = session.execute(_LOCK, {"id": payment_id}).mappings().first()
    if row is None:
        raise NotFound(f"there is no payment {payment_id!r}")
    return payment_from(dict(row))


def suspend(session: Session, payment: Payment, note: str, *, iteration_id: str | None = None) -> None:
    """Put the payment in suspense: a person decides. `note` says why."""
    session.execute(_SUSPEND, {"id": payment.id, "note": note})
    append(session, [payment_event("payment.unmatched", payment, data={"note": note, "invoice_id": None},
                                   iteration_id=iteration_id)])  # fmt: skip
    follow_suspense_alert(session)


def follow_suspense_alert(session: Session) -> None:
    """One alert is open exactly while payments wait in suspense."""
    waiting = session.execute(_IN_SUSPENSE).scalar_one()
    if waiting:
        raise_alert(
            session,
            rule=SUSPENSE_RULE,
            subject="payments",
            message=f"{waiting} payments match no invoice: assign or ignore them",
            data={"waiting": waiting},
        )
    else:
        resolve_alert(session, rule=SUSPENSE_RULE, subject="payments")


def facts(payment: Payment) -> dict[str, Any]:
    """What events tell about a payment."""
    units = payment.amount_units
    return {
        "payment_id": payment.id,
        "invoice_id": payment.invoice_id,
        "chain": payment.chain,
        "tx_hash": payment.tx_hash,
        "asset": payment.asset,
        "amount_units": str(units) if units is not None else None,
        "amount_crypto": from_units(units, payment.decimals or 0) if units is not None else None,
        "provider": payment.provider,
        "provider_ref": payment.provider_ref,
        "amount": {"amount_minor": payment.amount_minor, "currency": payment.currency}
        if payment.amount_minor is not None
        else None,
        "confirmations": {"seen": payment.confirmations, "required": payment.required},
    }


def payment_event(
    type_: str,
    payment: Payment,
    *,
    subscription_id: str | None = None,
    iteration_id: str | None = None,
    data: Mapping[str, Any] | None = None,
    broad: bool = True,
) -> NewEvent:
    """An event about a payment: on `payments`, its invoice's channel and its subscription's, if any."""
    channels = ["payments"] if broad else []
    if payment.invoice_id is not None:
        channels.append(f"invoice:{payment.invoice_id}")
    if subscription_id is not None:
        channels.append(f"subscription:{subscription_id}")
    return NewEvent(
        type=type_,
        subject=f"payment:{payment.id}",
        channels=tuple(channels),
        data={**facts(payment), **(data or {})},
        subscription_id=subscription_id,
        iteration_id=iteration_id,
    )
