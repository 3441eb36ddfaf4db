"""Open the invoice for the next period of a subscription, or return the one that is open."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from tenure.audit.record import Actor, record
from tenure.errors import FieldError, IllegalTransition, Invalid
from tenure.events.append import append
from tenure.kit.ids import new_id
from tenure.kit.money import Money
from tenure.payments import invoice_row
from tenure.payments.expire_invoices import expire_one
from tenure.payments.invoice_row import Invoice, facts, invoice_event
from tenure.payments.quoting import ChainTerms, allot, terms
from tenure.payments.rules import LATE_WINDOW, InvoiceStatus, Method, Odd, expires_at, invoice_number
from tenure.settings import Settings
from tenure.subscriptions.row import Locked
from tenure.subscriptions.row import lock as lock_subscription
from tenure.subscriptions.rules import Status

_PAYABLE: Final = frozenset(
    {Status.INCOMPLETE, Status.TRIALING, Status.ACTIVE, Status.PAST_DUE, Status.EXPIRED}
)
_NEXT_NUMBER: Final = text("SELECT nextval('invoice_number')")
_INSERT: Final = text("""
    INSERT INTO invoice (id, number, subscription_id, customer_id, period_no, origin, amount_minor, currency,
                         method, provider, source, opened_at, due_at, expires_at, late_until, token)
    VALUES (:id, :number, :subscription_id, :customer_id, :period_no, :origin, :amount_minor, :currency,
            :method, :provider, :source, :now, :due_at, :expires_at, :late_until, :token)
""")
_CHANGE_METHOD: Final = text("""
    UPDATE invoice SET method = :method, provider = :provider, source = :source,
                       updated_at = clock_timestamp()
    WHERE id = :id
""")


@dataclass(frozen=True, slots=True)
class Wanted:
    """How somebody wants to pay. A chain needs `chain` and `asset`, a provider `provider`."""

    method: Method
    chain: str | None = None
    asset: str | None = None
    provider: str | None = None


@dataclass(frozen=True, slots=True)
class Opened:
    """The open invoice, and whether this call made it."""

    invoice_id: str
    created: bool


@dataclass(frozen=True, slots=True)
class _Way:
    """A checked wish: where the payment would be seen, and the quote's terms on a chain."""

    method: Method
    provider: str | None
    source: str | None
    terms: ChainTerms | None


def open_invoice(
    session: Session,
    settings: Settings,
    *,
    subscription_id: str,
    wanted: Wanted,
    actor: Actor,
    origin: str = "request",
    iteration_id: str | None = None,
) -> Opened:
    """The invoice for the period after the last paid one, open until it is paid, expires or is void.

    There is one for each period: a second call returns it. If it was opened without a way to see its payment
    (`manual`), the second call gives it the way that is wanted now. Raises NotFound, Invalid
    (`unknown_chain`, `unknown_asset`, `no_rate`, `unknown_provider`), and IllegalTransition when the
    subscription cannot be paid for.
    """
    row = lock_subscription(session, subscription_id)
    price = Money(int(row.plan["price"]["amount_minor"]), row.plan["price"]["currency"])
    way = _way(settings, wanted, price.currency)
    if row.state.status not in _PAYABLE:
        raise IllegalTransition(row.state.status, "open an invoice")
    period_no = row.state.period_no + row.state.paid_periods + 1
    alive = invoice_row.lock_alive(session, row.id, period_no)
    if alive is not None and not expire_one(session, alive, now=row.now, iteration_id=iteration_id):
        _give_way(session, alive, way, actor)
        return Opened(alive.id, created=False)
    invoice = _insert(session, row, price, period_no, way, origin=origin)
    _quote(session, invoice, way, price)
    invoice_row.follow_payable(session, row.id)
    append(session, [invoice_event("invoice.opened", invoice, iteration_id=iteration_id)])
    if iteration_id is None:
        _audit(session, "invoice.open", invoice, actor)
    return Opened(invoice.id, created=True)


def _way(settings: Settings, wanted: Wanted, currency: str) -> _Way:
    match wanted.method:
        case Method.CHAIN:
            problems = [
                FieldError(name, "missing", f"method chain needs {name}")
                for name in ("chain", "asset")
                if getattr(wanted, name) is None
            ]
            if wanted.chain is None or wanted.asset is None:
                raise Invalid(errors=problems)
            found = terms(settings, chain=wanted.chain, asset=wanted.asset, currency=currency)
            return _Way(wanted.method, None, found.source, found)
        case Method.PROVIDER:
            if wanted.provider is None:
                raise Invalid.field("provider", "missing", "method provider needs provider")
            known = {one.name for one in settings.payment_providers if one.kind == "hmac"}
            if wanted.provider not in known:
                raise Invalid.field(
                    "provider",
                    "unknown_provider",
                    f"there is no provider {wanted.provider!r} that takes invoices",
                )
            return _Way(wanted.method, wanted.provider, f"provider:{wanted.provider}", None)
        case Method.MANUAL:
            return _Way(wanted.method, None, None, None)


def _give_way(session: Session, invoice: Invoice, way: _Way, actor: Actor) -> None:
    """An open invoice that only people could settle can be paid in the way that is wanted now."""
    if invoice.status is not InvoiceStatus.OPEN or invoice.source is not None or way.source is None:
        return
    session.execute(
        _CHANGE_METHOD,
        {"id": invoice.id, "method": way.method.value, "provider": way.provider, "source": way.source},
    )
    _quote(session, invoice, way, invoice.amount)
    invoice_row.follow_payable(session, invoice.subscription_id)
    _audit(session, "invoice.change_method", replace(invoice, method=way.method), actor)


def _insert(
    session: Session, row: Locked, price: Money, period_no: int, way: _Way, *, origin: str
) -> Invoice:
    until: datetime = expires_at(row.now, row.state.grace_until if row.state.access_on else None)
    invoice = Invoice(
        id=new_id("inv"),
        number=invoice_number(session.execute(_NEXT_NUMBER).scalar_one()),
        subscription_id=row.id,
        customer_id=row.customer_id,
        period_no=period_no,
        origin=origin,
        status=InvoiceStatus.OPEN,
        exception=Odd.NONE,
        amount=price,
        paid_minor=0,
        method=way.method,
        provider=way.provider,
        source=way.source,
        expires_at=until,
        late_until=until + LATE_WINDOW,
    )
    values: dict[str, Any] = {
        "id": invoice.id,
        "number": invoice.number,
        "subscription_id": row.id,
        "customer_id": row.customer_id,
        "period_no": period_no,
        "origin": origin,
        "amount_minor": price.amount_minor,
        "currency": price.currency,
        "method": way.method.value,
        "provider": way.provider,
        "source": way.source,
        "now": row.now,
        "due_at": row.state.period_end if row.state.access_on else row.now,
        "expires_at": invoice.expires_at,
        "late_until": invoice.late_until,
        "token": secrets.token_urlsafe(24),
    }
    session.execute(_INSERT, values)
    return invoice


def _quote(session: Session, invoice: Invoice, way: _Way, price: Money) -> None:
    if way.terms is not None:
        allot(
            session,
            invoice_id=invoice.id,
            price=price,
            terms=way.terms,
            expires_at=invoice.expires_at,
            reserved_until=invoice.late_until,
        )


def _audit(session: Session, action: str, invoice: Invoice, actor: Actor) -> None:
    record(
        session,
        actor=actor,
        action=action,
        object_=f"invoice:{invoice.id}",
        after=facts(invoice),
        subscription_id=invoice.subscription_id,
    )
