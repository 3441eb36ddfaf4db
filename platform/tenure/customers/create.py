"""Create a customer."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from tenure.audit.record import Actor, record
from tenure.customers.queries import customer_by_id
from tenure.customers.rules import Details, problems
from tenure.errors import Conflict, Invalid
from tenure.kit.ids import new_id
from tenure.model.customer import Customer


def create(session: Session, details: Details, *, actor: Actor) -> dict[str, Any]:
    """The new customer. Raises Invalid with every problem, Conflict when the external id is taken."""
    found = problems(details)
    if found:
        raise Invalid("the customer is not valid", errors=found)
    id_ = new_id("cus")
    added = session.execute(
        insert(Customer)
        .values(id=id_, **asdict(details))
        .on_conflict_do_nothing(index_elements=[Customer.external_id])
        .returning(Customer.id)
    ).first()
    if added is None:
        raise Conflict(f"there is a customer with the external id {details.external_id!r}", code="exists")
    record(
        session,
        actor=actor,
        action="customer.create",
        object_=f"customer:{id_}",
        after={"external_id": details.external_id},
    )
    return customer_by_id(session, id_)
