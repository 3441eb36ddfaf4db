"""Webhooks of payment providers: proved, stored, answered. What they mean is worked out by the watcher."""

from __future__ import annotations

from typing import Any, Final

from flask import request

from tenure.exporter.hooks import AUTHENTICATED, RECEIVED
from tenure.kit import clock
from tenure.payments.receive_webhook import store_webhook, verify_webhook
from web.body import RawBody, parse, raw
from web.deadline import webhook_deadline
from web.origin import client_address
from web.route import Call, Routes

routes = Routes("Hooks", prefix="")

_LARGEST: Final = 262_144


@routes.post(
    "/hooks/payments/{provider}",
    role=None,
    body=RawBody,
    transaction=False,
    summary="Receive a payment provider's webhook",
)
def receive(call: Call, provider: str) -> dict[str, Any]:
    call.services.came_in("payments", RECEIVED)
    with webhook_deadline():
        body = raw(request, limit=_LARGEST)
        with call.services.gate.refusals_counted(client_address(request, call.services.settings)):
            webhook = verify_webhook(
                call.services.settings,
                provider,
                headers=dict(request.headers.items()),
                body=body,
                now=clock.unix_seconds(),
            )
        call.services.came_in("payments", AUTHENTICATED)
        parse(body)
        with call.services.db.transaction() as session:
            new = store_webhook(session, webhook)
    return {"stored": True} if new else {"duplicate": True}
