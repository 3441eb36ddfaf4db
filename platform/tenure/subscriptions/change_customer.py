"""Change a customer: the accounts at the provisioner carry its names, so they are told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from sqlalchemy import func, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from tenure.audit.record import Actor, record
from tenure.customers.queries import as_dict
from tenure.customers.rules import Details, problems
from tenure.errors import Conflict, Invalid, NotFound
from tenure.model.customer import Customer
from tenure.subscriptions.access import Priority, refresh

# Locked before access is read, see access.py.
_LOCK_SUBSCRIPTIONS: Final = text(
    "SELECT id FROM subscription WHERE customer_id = :id ORDER BY id FOR NO KEY UPDATE"
)
_FIELDS: Final = ("external_id", "email", "telegram_chat_id", "locale", "timezone")


def change_customer(
    session: Session, *, customer_id: str, changes: Mapping[str, Any], actor: Actor
) -> dict[str, Any]:
    """The changed customer. `changes` names fields of Details; the same values again change nothing.

    A new time zone counts from the next period on. Raises NotFound, Invalid with every problem, and Conflict
    when the external id is taken.
    """
    # Subscriptions before the customer, as everybody who holds a subscription and then touches its customer.
    session.execute(_LOCK_SUBSCRIPTIONS, {"id": customer_id})
    customer = session.scalars(
        select(Customer).where(Customer.id == customer_id).with_for_update(key_share=True)
    ).first()
    if customer is None:
        raise NotFound(f"there is no customer {customer_id!r}")
    before = {name: getattr(customer, name) for name in _FIELDS}
    details = replace(Details(**before), **changes)
    found = problems(details)
    if found:
        raise Invalid("the customer is not valid", errors=found)
    after = {name: getattr(details, name) for name in _FIELDS}
    if after == before:
        return as_dict(customer)
    for name, value in after.items():
        setattr(customer, name, value)
    if after["email"] != before["email"]:
        customer.email_blocked_at = None
    if after["telegram_chat_id"] != before["telegram_chat_id"]:
        customer.telegram_blocked_at = None
    customer.updated_at = func.clock_timestamp()
    try:
        session.flush()
    except IntegrityError:
        raise Conflict(
            f"there is a customer with the external id {details.external_id!r}", code="exists"
        ) from None
    # Once more: one that was started meanwhile is there now.
    ids = session.scalars(_LOCK_SUBSCRIPTIONS, {"id": customer_id}).all()
    refresh(session, list(ids), priority=Priority.ACT)
    record(
        session,
        actor=actor,
        action="customer.change",
        object_=f"customer:{customer_id}",
        before={name: value for name, value in before.items() if after[name] != value},
        after={name: value for name, value in after.items() if before[name] != value},
    )
    session.refresh(customer)
    return as_dict(customer)
