"""Create an endpoint."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import func, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from tenure.audit.record import Actor, record
from tenure.errors import Conflict, Invalid
from tenure.kit.ids import new_id
from tenure.kit.sealing import Sealer
from tenure.model.webhook import WebhookEndpoint
from tenure.webhooks.queries import endpoint_by_id
from tenure.webhooks.rules import problems
from tenure.webhooks.secret import new_secret

# Each event costs a delivery per endpoint; more than these is not a small team's install any more.
_MOST: Final = 100


def create_endpoint(
    session: Session,
    *,
    url: str,
    types: Sequence[str],
    allow_private: bool,
    sealer: Sealer,
    actor: Actor,
) -> dict[str, Any]:
    """The new endpoint, told of what happens from now on. The result alone holds `secret`.

    Raises Invalid with every problem, Conflict `too_many`.
    """
    found = problems(url, types, allow_private=allow_private)
    if found:
        raise Invalid("the endpoint is not valid", errors=found)
    if session.execute(text("SELECT count(*) FROM webhook_endpoint")).scalar_one() >= _MOST:
        raise Conflict(f"there are {_MOST} endpoints already", code="too_many")
    endpoint_id, secret = new_id("whe"), new_secret()
    session.execute(
        insert(WebhookEndpoint).values(
            id=endpoint_id,
            url=url,
            types=list(types),
            secret_sealed=sealer.seal(secret, about=endpoint_id),
            # Drawn where events draw theirs: each event that was written before has a smaller one.
            after_n=func.nextval(func.pg_get_serial_sequence("event", "n")),
        )
    )
    endpoint = endpoint_by_id(session, endpoint_id)
    record(
        session,
        actor=actor,
        action="webhook_endpoint.create",
        object_=f"webhook_endpoint:{endpoint_id}",
        after={"url": url, "types": list(types)},
    )
    return {**endpoint, "secret": secret}
