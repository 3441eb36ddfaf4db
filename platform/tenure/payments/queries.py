"""Invoices, payments and balances as the API shows them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode

from sqlalchemy import RowMapping, text
from sqlalchemy.orm import Session

from tenure.errors import NotFound
from tenure.kit.money import from_units
from tenure.kit.times import rfc3339
from tenure.payments.rules import payment_uri
from tenure.settings import Settings

# The newest quote is the one to pay; of several payments the one that still waits for confirmations is shown.
_INVOICE: Final = """
    SELECT i.*, q.chain, q.chain_id, q.asset, q.shown_contract, q.shown_address, q.decimals, q.amount_units,
           q.rate, q.expires_at AS quote_expires_at, q.confirmations AS quote_confirmations,
           p.confirmations AS seen, p.required, p.id AS payment_id, c.external_id
    FROM invoice i
    JOIN customer c ON c.id = i.customer_id
    LEFT JOIN LATERAL (
        SELECT * FROM quote WHERE invoice_id = i.id ORDER BY id DESC LIMIT 1) q ON true
    LEFT JOIN LATERAL (
        SELECT * FROM payment WHERE invoice_id = i.id AND status IN ('seen', 'confirmed')
        ORDER BY (status = 'seen') DESC, id DESC LIMIT 1) p ON true
"""
_INVOICE_FILTERS: Final = {
    "cursor": "i.id < :cursor",
    "status": "i.status = :status",
    "subscription": "i.subscription_id = :subscription",
    "customer": "(i.customer_id = :customer OR c.external_id = :customer)",
    "exception": "i.exception = :exception",
    "match": "EXISTS (SELECT 1 FROM payment m WHERE m.invoice_id = i.id AND m.match = :match)",
}
_PAYMENT: Final = """
    SELECT p.*, i.subscription_id, i.number FROM payment p LEFT JOIN invoice i ON i.id = p.invoice_id
"""
_PAYMENT_FILTERS: Final = {
    "cursor": "p.id < :cursor",
    "status": "p.status = :status",
    "match": "p.match = :match",
    "invoice": "p.invoice_id = :invoice",
    "subscription": "i.subscription_id = :subscription",
    "exception": "i.exception = :exception",
    "chain": "p.chain = :chain",
    "tx_hash": "p.tx_hash = lower(:tx_hash)",
}
_ENTRIES: Final = text("""
    SELECT * FROM ledger_entry
    WHERE customer_id = :customer_id AND (CAST(:cursor AS text) IS NULL OR id < :cursor)
    ORDER BY id DESC LIMIT :limit
""")
_BALANCES: Final = text("""
    SELECT currency, sum(amount_minor) AS amount_minor FROM ledger_entry
    WHERE customer_id = :customer_id GROUP BY currency ORDER BY currency
""")


def invoice(session: Session, settings: Settings, invoice_id: str, *, base_url: str = "") -> dict[str, Any]:
    """One invoice. Raises NotFound."""
    row = session.execute(text(f"{_INVOICE} WHERE i.id = :id"), {"id": invoice_id}).mappings().first()
    if row is None:
        raise NotFound(f"there is no invoice {invoice_id!r}")
    return _invoice(row, settings, base_url)


def invoice_by_token(session: Session, settings: Settings, token: str) -> dict[str, Any]:
    """The invoice whose checkout page this is. Raises NotFound."""
    row = session.execute(text(f"{_INVOICE} WHERE i.token = :token"), {"token": token}).mappings().first()
    if row is None:
        raise NotFound("there is no such checkout page")
    return _invoice(row, settings, "")


def invoices(
    session: Session,
    settings: Settings,
    *,
    limit: int,
    filters: Mapping[str, str | None],
    base_url: str = "",
) -> dict[str, Any]:
    """A page of invoices, newest first. Filters: cursor, status, subscription, customer, exception, match."""
    rows = _page(session, _INVOICE, "i.id", _INVOICE_FILTERS, filters, limit)
    return _listed([_invoice(row, settings, base_url) for row in rows], limit)


def payment(session: Session, payment_id: str) -> dict[str, Any]:
    """One payment. Raises NotFound."""
    row = session.execute(text(f"{_PAYMENT} WHERE p.id = :id"), {"id": payment_id}).mappings().first()
    if row is None:
        raise NotFound(f"there is no payment {payment_id!r}")
    return _payment(row)


def payments(session: Session, *, limit: int, filters: Mapping[str, str | None]) -> dict[str, Any]:
    """A page of payments, newest first.

    Filters: cursor, status, match, invoice, subscription, exception, chain, tx_hash.
    """
    rows = _page(session, _PAYMENT, "p.id", _PAYMENT_FILTERS, filters, limit)
    return _listed([_payment(row) for row in rows], limit)


def ledger(session: Session, customer_id: str, *, limit: int, cursor: str | None = None) -> dict[str, Any]:
    """A page of a customer's ledger, newest first, with the balance in each currency."""
    rows = session.execute(
        _ENTRIES, {"customer_id": customer_id, "cursor": cursor, "limit": limit + 1}
    ).mappings()
    balances = session.execute(_BALANCES, {"customer_id": customer_id}).mappings()
    return {
        "balances": [
            {"amount_minor": int(row["amount_minor"]), "currency": row["currency"]} for row in balances
        ],
        **_listed([_entry(row) for row in rows], limit),
    }


def _page(
    session: Session,
    select: str,
    key: str,
    known: Mapping[str, str],
    given: Mapping[str, str | None],
    limit: int,
) -> list[RowMapping]:
    wanted = {name: value for name, value in given.items() if value is not None}
    where = " AND ".join(known[name] for name in wanted)
    statement = f"{select} {'WHERE ' + where if where else ''} ORDER BY {key} DESC LIMIT :limit"
    return list(session.execute(text(statement), {**wanted, "limit": limit + 1}).mappings())


def _listed(items: list[dict[str, Any]], limit: int) -> dict[str, Any]:
    more = len(items) > limit
    return {"items": items[:limit], "next_cursor": items[limit - 1]["id"] if more else None}


def _invoice(row: RowMapping, settings: Settings, base_url: str) -> dict[str, Any]:
    required = row["required"] if row["payment_id"] else row["quote_confirmations"]
    shown: dict[str, Any] = {
        "id": row["id"],
        "number": row["number"],
        "subscription_id": row["subscription_id"],
        "customer_id": row["customer_id"],
        "external_id": row["external_id"],
        "period_no": row["period_no"],
        "origin": row["origin"],
        "status": row["status"],
        "exception": row["exception"],
        "amount": {"amount_minor": row["amount_minor"], "currency": row["currency"]},
        "paid": {"amount_minor": row["paid_minor"], "currency": row["currency"]},
        "method": row["method"],
        "provider": row["provider"],
        "confirmations": {"seen": row["seen"] or 0, "required": required or 0},
        "opened_at": rfc3339(row["opened_at"]),
        "due_at": rfc3339(row["due_at"]),
        "expires_at": rfc3339(row["expires_at"]),
        "late_until": rfc3339(row["late_until"]),
        "paid_at": rfc3339(row["paid_at"]),
        "created_at": rfc3339(row["created_at"]),
        "checkout_url": f"{base_url}/pay/{row['token']}",
    }
    if row["chain"] is not None:
        shown["quote"] = _quote(row)
    pay_url = _pay_url(row, settings)
    if pay_url is not None:
        shown["pay_url"] = pay_url
    return shown


def _quote(row: RowMapping) -> dict[str, Any]:
    units = int(row["amount_units"])
    return {
        "chain": row["chain"],
        "chain_id": row["chain_id"],
        "asset": row["asset"],
        "contract": row["shown_contract"],
        "address": row["shown_address"],
        "amount": from_units(units, row["decimals"]),
        "amount_units": str(units),
        "decimals": row["decimals"],
        "rate": format(row["rate"].normalize(), "f"),
        "expires_at": rfc3339(row["quote_expires_at"]),
        "uri": payment_uri(
            contract=row["shown_contract"],
            chain_id=row["chain_id"],
            address=row["shown_address"],
            units=units,
        ),
    }


def _pay_url(row: RowMapping, settings: Settings) -> str | None:
    """The provider's own page, where the settings name its address."""
    provider = next((one for one in settings.payment_providers if one.name == row["provider"]), None)
    if provider is None or provider.api_url is None:
        return None
    asked = {
        "invoice_id": row["id"],
        "number": row["number"],
        "amount_minor": row["amount_minor"],
        "currency": row["currency"],
    }
    return f"{provider.api_url.rstrip('/')}/pay?{urlencode(asked)}"


def _payment(row: RowMapping) -> dict[str, Any]:
    units = int(row["amount_units"]) if row["amount_units"] is not None else None
    known = row["amount_minor"] is not None
    return {
        "id": row["id"],
        "status": row["status"],
        "match": row["match"],
        "note": row["note"],
        "invoice_id": row["invoice_id"],
        "invoice_number": row["number"],
        "subscription_id": row["subscription_id"],
        "amount": {"amount_minor": row["amount_minor"], "currency": row["currency"]} if known else None,
        "chain": row["chain"],
        "tx_hash": row["tx_hash"],
        "ordinal": row["ordinal"],
        "block_number": row["block_number"],
        "address": row["to_address"],
        "asset": row["asset"],
        "amount_units": str(units) if units is not None else None,
        "amount_crypto": from_units(units, row["decimals"]) if units is not None else None,
        "provider": row["provider"],
        "provider_ref": row["provider_ref"],
        "confirmations": {"seen": row["confirmations"], "required": row["required"]},
        "seen_at": rfc3339(row["seen_at"]),
        "confirmed_at": rfc3339(row["confirmed_at"]),
        "credited_at": rfc3339(row["credited_at"]),
        "created_at": rfc3339(row["created_at"]),
    }


def _entry(row: RowMapping) -> dict[str, Any]:
    return {
        "id": row["id"],
        "kind": row["kind"],
        "amount": {"amount_minor": row["amount_minor"], "currency": row["currency"]},
        "payment_id": row["payment_id"],
        "invoice_id": row["invoice_id"],
        "iteration_id": row["iteration_id"],
        "at": rfc3339(row["at"]),
    }
