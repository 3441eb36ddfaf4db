"""Invoices: opened for a subscription, settled, claimed and voided."""

from __future__ import annotations

from typing import Any, Literal

from flask import request
from pydantic import Field

from tenure.accounts.principal import Role
from tenure.kit.http import HttpDoor
from tenure.payments import queries
from tenure.payments.claim import claim, find
from tenure.payments.open_invoice import Wanted, open_invoice
from tenure.payments.rules import InvoiceStatus, Method, Odd
from tenure.payments.settle import settle
from tenure.payments.void import void
from tenure.wiring import chain_readers
from web.body import Body
from web.idempotency import REPLAY, key_of, repeatable
from web.origin import own_origin
from web.route import Call, Page, Reply, Routes

routes = Routes("Invoices")

_LONGEST = 200
Match = Literal["matched", "unmatched", "ignored"]


class NewInvoice(Body):
    """How it is to be paid: on a chain in an asset, at a provider, or by hand (`settle`)."""

    method: Literal["chain", "provider", "manual"]
    chain: str | None = Field(default=None, max_length=_LONGEST)
    asset: str | None = Field(default=None, max_length=_LONGEST)
    provider: str | None = Field(default=None, max_length=_LONGEST)


class InvoiceFilter(Page):
    """A page of those in a status, of a subscription or customer, with an exception or a payment's match."""

    status: InvoiceStatus | None = None
    subscription: str | None = Field(default=None, max_length=_LONGEST)
    customer: str | None = Field(default=None, max_length=1000)
    exception: Odd | None = None
    match: Match | None = None


class Settlement(Body):
    """Why the invoice counts as paid."""

    reason: str = Field(min_length=1, max_length=500)


class Voiding(Body):
    """Why nobody shall pay it."""

    reason: str | None = Field(default=None, min_length=1, max_length=500)


class Claim(Body):
    """The transaction that was meant for the invoice."""

    tx_hash: str = Field(min_length=66, max_length=66, pattern=r"^0x[0-9a-fA-F]{64}$")


def base_url(call: Call) -> str:
    """Where customers find this install: its own origin if it is set, else as it was asked."""
    origins = call.services.settings.allowed_origins
    return origins[0] if origins else own_origin(request, call.services.settings)


def _shown(call: Call, id_: str) -> dict[str, Any]:
    return queries.invoice(call.session, call.services.settings, id_, base_url=base_url(call))


@routes.post(
    "/subscriptions/{id}/invoices", body=NewInvoice, status=201, key_required=True, summary="Open an invoice"
)
def open_(call: Call, id: str, body: NewInvoice) -> Reply:  # noqa: A002 - the path's name
    wanted = Wanted(Method(body.method), chain=body.chain, asset=body.asset, provider=body.provider)
    opened = open_invoice(
        call.session, call.services.settings, subscription_id=id, wanted=wanted, actor=call.actor
    )
    return Reply(_shown(call, opened.invoice_id), status=201 if opened.created else 200)


@routes.get("/invoices", query=InvoiceFilter, summary="List invoices")
def list_(call: Call, query: InvoiceFilter) -> dict[str, Any]:
    return queries.invoices(
        call.session,
        call.services.settings,
        limit=query.limit,
        filters=query.model_dump(mode="json", exclude={"limit"}),
        base_url=base_url(call),
    )


@routes.get("/invoices/{id}", summary="Show an invoice")
def show(call: Call, id: str) -> dict[str, Any]:  # noqa: A002 - the path's name
    return _shown(call, id)


@routes.post("/invoices/{id}/void", body=Voiding, summary="Void an invoice")
def void_(call: Call, id: str, body: Voiding) -> dict[str, Any]:  # noqa: A002 - the path's name
    void(call.session, id, actor=call.actor, reason=body.reason)
    return _shown(call, id)


@routes.post(
    "/invoices/{id}/settle", role=Role.ADMIN, body=Settlement, key_required=True, summary="Settle by hand"
)
def settle_(call: Call, id: str, body: Settlement) -> dict[str, Any]:  # noqa: A002 - the path's name
    settle(call.session, id, reason=body.reason, actor=call.actor)
    return _shown(call, id)


@routes.post(
    "/invoices/{id}/claim", body=Claim, key_required=True, transaction=False, summary="Claim a transaction"
)
def claim_(call: Call, id: str, body: Claim) -> Reply:  # noqa: A002 - the path's name
    """Chains are asked before the transaction that does the work; so the key is kept here."""
    made = call.services
    key = key_of(request, required=True) or ""
    repeat = repeatable(request, actor=call.principal.name, key=key, body=body.model_dump())
    door = HttpDoor(allow_private=made.settings.private_urls_allowed)
    try:
        found = find(made.db, made.settings, chain_readers(made.settings, door), body.tx_hash)
    finally:
        door.close()
    with made.db.transaction() as session:
        stored = repeat.claim(session)
        if stored is not None:
            return Reply(stored.body, stored.status, {REPLAY: "true"})
        claim(session, made.settings, found, id, actor=call.actor)
        shown = queries.invoice(session, made.settings, id, base_url=base_url(call))
        repeat.store(session, 200, shown, secret=False)
    return Reply(shown)
