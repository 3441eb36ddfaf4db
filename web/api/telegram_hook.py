"""Updates of the Telegram bot: proved, stored, answered. The job `notices` works out what they mean."""

from __future__ import annotations

from typing import Any, Final

from flask import request

from tenure.errors import Invalid
from tenure.exporter.hooks import AUTHENTICATED, RECEIVED
from tenure.notices.receive_update import HEADER, store_update, update_of, verify_secret
from web.body import RawBody, parse, raw
from web.deadline import webhook_deadline
from web.origin import client_address
from web.problem import BadRequest
from web.route import Call, Routes

routes = Routes("Hooks", prefix="")

_LARGEST: Final = 262_144


@routes.post(
    "/hooks/telegram",
    role=None,
    body=RawBody,
    transaction=False,
    summary="Receive an update of the Telegram bot",
)
def receive_update(call: Call) -> dict[str, Any]:
    call.services.came_in("telegram", RECEIVED)
    # Nobody without the secret makes us read a body.
    with call.services.gate.refusals_counted(client_address(request, call.services.settings)):
        verify_secret(call.services.settings, request.headers.get(HEADER))
    call.services.came_in("telegram", AUTHENTICATED)
    with webhook_deadline():
        body = raw(request, limit=_LARGEST)
        try:
            update_id, kind = update_of(parse(body))
        except Invalid as error:
            raise BadRequest("this is no update", code="malformed_json") from error
        with call.services.db.transaction() as session:
            new = store_update(session, update_id, kind, body)
    return {"stored": True} if new else {"duplicate": True}
