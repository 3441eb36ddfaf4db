"""Customers as the API shows them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from tenure.errors import NotFound
from tenure.kit.times import rfc3339
from tenure.model.customer import Customer


def as_dict(customer: Customer) -> dict[str, Any]:
    """One customer in the shape of the API."""
    return {
        "id": customer.id,
        "external_id": customer.external_id,
        "email": customer.email,
        "telegram_chat_id": customer.telegram_chat_id,
        "locale": customer.locale,
        "timezone": customer.timezone,
        "email_blocked_at": rfc3339(customer.email_blocked_at),
        "telegram_blocked_at": rfc3339(customer.telegram_blocked_at),
        "created_at": rfc3339(customer.created_at),
    }


def customer_by_id(session: Session, customer_id: str) -> dict[str, Any]:
    """One customer. Raises NotFound."""
    customer = session.get(Customer, customer_id)
    if customer is None:
        raise NotFound(f"there is no customer {customer_id!r}")
    return as_dict(customer)


def customers(
    session: Session, *, limit: int, cursor: str | None = None, external_id: str | None = None
) -> dict[str, Any]:
    """A page of customers, newest first."""
    query = select(Customer).order_by(Customer.id.desc()).limit(limit + 1)
    if external_id is not None:
        query = query.where(Customer.external_id == external_id)
    if cursor:
        query = query.where(Customer.id < cursor)
    found = session.scalars(query).all()
    more = len(found) > limit
    return {
        "items": [as_dict(customer) for customer in found[:limit]],
        "next_cursor": found[limit - 1].id if more else None,
    }
