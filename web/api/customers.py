"""Customers, and whether they are entitled now."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from tenure.customers import queries
from tenure.customers.create import create
from tenure.customers.rules import Details
from tenure.subscriptions.change_customer import change_customer
from tenure.subscriptions.queries import entitlements
from web.body import Body
from web.route import Call, Page, Routes
from web.version import Versioned

routes = Routes("Customers")
CUSTOMER = Versioned(
    read=lambda call, id_: queries.customer_by_id(call.session, id_),
    locks=(
        "SELECT id FROM subscription WHERE customer_id = :id ORDER BY id FOR NO KEY UPDATE",
        "SELECT 1 FROM customer WHERE id = :id FOR NO KEY UPDATE",
    ),
    fields=("id", "external_id", "email", "telegram_chat_id", "locale", "timezone"),
)

_MOST = 10**20


class NewCustomer(Body):
    """A customer; `external_id` is its name in your own service."""

    external_id: str = Field(max_length=1000)
    email: str | None = Field(default=None, max_length=1000)
    telegram_chat_id: str | int | None = Field(default=None, description="a number, or a channel's @name")
    locale: str | None = Field(default=None, max_length=100)
    timezone: str | None = Field(default=None, max_length=100, description="IANA name, such as Europe/Berlin")


class ChangedCustomer(Body):
    """What to change; what is left out stays, null empties."""

    external_id: str | None = Field(default=None, max_length=1000)
    email: str | None = Field(default=None, max_length=1000)
    telegram_chat_id: str | int | None = None
    locale: str | None = Field(default=None, max_length=100)
    timezone: str | None = Field(default=None, max_length=100)


class CustomerFilter(Page):
    """A page, or the one customer of an external id."""

    external_id: str | None = Field(default=None, max_length=1000)


class EntitlementQuery(Body):
    """The customer's external id."""

    customer: str = Field(min_length=1, max_length=1000)


# Null means the default here.
_DEFAULTS = {"external_id": "", "locale": "en", "timezone": "UTC"}


def _given(body: NewCustomer | ChangedCustomer) -> dict[str, Any]:
    given = {name: getattr(body, name) for name in body.model_fields_set}
    chat = given.get("telegram_chat_id")
    if chat is not None:
        given["telegram_chat_id"] = str(chat)[:100]
    return {name: _DEFAULTS.get(name) if value is None else value for name, value in given.items()}


@routes.get("/customers", query=CustomerFilter, summary="List customers")
def list_customers(call: Call, query: CustomerFilter) -> dict[str, Any]:
    return queries.customers(
        call.session, limit=query.limit, cursor=query.cursor, external_id=query.external_id
    )


@routes.get("/customers/{id}", versioned=CUSTOMER, summary="One customer")
def show_customer(call: Call, id: str) -> dict[str, Any]:  # noqa: A002 - the contract's name
    return queries.customer_by_id(call.session, id)


@routes.post("/customers", body=NewCustomer, status=201, summary="Create a customer")
def create_customer(call: Call, body: NewCustomer) -> dict[str, Any]:
    return create(call.session, Details(**_given(body)), actor=call.actor)


@routes.patch("/customers/{id}", body=ChangedCustomer, versioned=CUSTOMER, summary="Change a customer")
def edit_customer(call: Call, id: str, body: ChangedCustomer) -> dict[str, Any]:  # noqa: A002
    return change_customer(call.session, customer_id=id, changes=_given(body), actor=call.actor)


@routes.get("/entitlements", query=EntitlementQuery, summary="Whether a customer is entitled now")
def show_entitlements(call: Call, query: EntitlementQuery) -> dict[str, Any]:
    return entitlements(call.session, query.customer)
