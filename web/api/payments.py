"""Payments, the suspense list, and customers' balances."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from tenure.payments import queries
from tenure.payments.assign import assign, ignore
from tenure.payments.rules import Odd
from web.body import Body
from web.route import Call, Page, Routes

routes = Routes("Payments")

_LONGEST = 200


class PaymentFilter(Page):
    """A page of those in a status or match, of an invoice, a subscription, a chain or a transaction."""

    status: Literal["seen", "confirmed", "orphaned", "reversed", "refunded"] | None = None
    match: Literal["matched", "unmatched", "ignored"] | None = None
    invoice: str | None = Field(default=None, max_length=_LONGEST)
    subscription: str | None = Field(default=None, max_length=_LONGEST)
    exception: Odd | None = None
    chain: str | None = Field(default=None, max_length=_LONGEST)
    tx_hash: str | None = Field(default=None, max_length=_LONGEST)


class Assignment(Body):
    """The invoice that the payment was meant for."""

    invoice_id: str = Field(min_length=1, max_length=_LONGEST)


class Ignoring(Body):
    """Why the payment is left as it is."""

    reason: str = Field(min_length=1, max_length=500)


@routes.get("/payments", query=PaymentFilter, summary="List payments")
def list_(call: Call, query: PaymentFilter) -> dict[str, Any]:
    return queries.payments(
        call.session, limit=query.limit, filters=query.model_dump(mode="json", exclude={"limit"})
    )


@routes.get("/payments/{id}", summary="Show a payment")
def show(call: Call, id: str) -> dict[str, Any]:  # noqa: A002 - the path's name
    return queries.payment(call.session, id)


@routes.post("/payments/{id}/assign", body=Assignment, key_required=True, summary="Assign to an invoice")
def assign_(call: Call, id: str, body: Assignment) -> dict[str, Any]:  # noqa: A002 - the path's name
    assign(call.session, call.services.settings, id, invoice_id=body.invoice_id, actor=call.actor)
    return queries.payment(call.session, id)


@routes.post("/payments/{id}/ignore", body=Ignoring, summary="Ignore a payment")
def ignore_(call: Call, id: str, body: Ignoring) -> dict[str, Any]:  # noqa: A002 - the path's name
    ignore(call.session, id, reason=body.reason, actor=call.actor)
    return queries.payment(call.session, id)


@routes.get("/customers/{id}/ledger", query=Page, summary="A customer's ledger and balance")
def ledger(call: Call, id: str, query: Page) -> dict[str, Any]:  # noqa: A002 - the path's name
    return queries.ledger(call.session, id, limit=query.limit, cursor=query.cursor)
