"""Webhook endpoints of others, and what was told to them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from tenure.accounts.principal import Role
from tenure.webhooks import queries
from tenure.webhooks.create_endpoint import create_endpoint
from tenure.webhooks.delete_endpoint import delete_endpoint
from tenure.webhooks.enable_endpoint import enable_endpoint
from tenure.webhooks.replay_delivery import replay_delivery
from tenure.webhooks.rotate_secret import rotate_secret
from tenure.webhooks.secret import sealer_of
from web.body import Body
from web.route import Call, Page, Routes

routes = Routes("Webhooks")


class NewEndpoint(Body):
    """An endpoint; its answer alone holds `secret`, with which every message to it is signed."""

    url: str = Field(max_length=4000)
    types: list[str] = Field(
        max_length=200,
        description="subscription.*, invoice.*, payment.*, one type of these, entitlement.changed, "
        "iteration.failed, or * for all",
    )


class DeliveryFilter(Page):
    """A page of the deliveries to one endpoint, in one state, of one event."""

    endpoint: str | None = Field(default=None, max_length=200)
    state: Literal["pending", "delivered", "failed", "dead"] | None = None
    event: str | None = Field(default=None, max_length=200)


@routes.get("/webhook-endpoints", query=Page, summary="List webhook endpoints")
def list_endpoints(call: Call, query: Page) -> dict[str, Any]:
    return queries.endpoints(call.session, limit=query.limit, cursor=query.cursor)


@routes.get("/webhook-endpoints/{id}", summary="One webhook endpoint")
def show_endpoint(call: Call, id: str) -> dict[str, Any]:  # noqa: A002 - the contract's name
    return queries.endpoint_by_id(call.session, id)


@routes.post(
    "/webhook-endpoints",
    role=Role.ADMIN,
    body=NewEndpoint,
    status=201,
    secret=True,
    summary="Add a webhook endpoint",
)
def add_endpoint(call: Call, body: NewEndpoint) -> dict[str, Any]:
    call.services.keys.load(call.session)
    return create_endpoint(
        call.session,
        url=body.url,
        types=body.types,
        allow_private=call.services.settings.private_urls_allowed,
        sealer=sealer_of(call.services.keys),
        actor=call.actor,
    )


@routes.delete("/webhook-endpoints/{id}", role=Role.ADMIN, summary="Delete a webhook endpoint")
def remove_endpoint(call: Call, id: str) -> None:  # noqa: A002 - the contract's name
    delete_endpoint(call.session, id, actor=call.actor)


@routes.post(
    "/webhook-endpoints/{id}/rotate-secret",
    role=Role.ADMIN,
    secret=True,
    summary="Give a webhook endpoint a new secret; the old one is live for a day more",
)
def rotate(call: Call, id: str) -> dict[str, Any]:  # noqa: A002 - the contract's name
    call.services.keys.load(call.session)
    return rotate_secret(call.session, id, sealer=sealer_of(call.services.keys), actor=call.actor)


@routes.post("/webhook-endpoints/{id}/enable", role=Role.ADMIN, summary="Enable a disabled webhook endpoint")
def enable(call: Call, id: str) -> dict[str, Any]:  # noqa: A002 - the contract's name
    return enable_endpoint(call.session, id, actor=call.actor)


@routes.get("/webhook-deliveries", query=DeliveryFilter, summary="List webhook deliveries")
def list_deliveries(call: Call, query: DeliveryFilter) -> dict[str, Any]:
    return queries.deliveries(
        call.session,
        limit=query.limit,
        cursor=query.cursor,
        endpoint=query.endpoint,
        state=query.state,
        event=query.event,
    )


@routes.get("/webhook-deliveries/{id}", summary="One webhook delivery")
def show_delivery(call: Call, id: str) -> dict[str, Any]:  # noqa: A002 - the contract's name
    return queries.delivery_by_id(call.session, id)


@routes.post("/webhook-deliveries/{id}/replay", summary="Tell an endpoint of an event again")
def replay(call: Call, id: str) -> dict[str, Any]:  # noqa: A002 - the contract's name
    return replay_delivery(call.session, id, actor=call.actor)
