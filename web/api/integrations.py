"""What is connected, a test of each connection, and its breaker."""

from __future__ import annotations

import threading
from typing import Any, Final, Literal

from pydantic import Field, model_validator

from tenure.accounts.principal import Role
from tenure.errors import TooManyRequests
from tenure.exporter.integrations import integrations as listed
from tenure.integrations.force_breaker import force_breaker
from tenure.integrations.known import one
from tenure.providers.probe import probe
from web.body import Body
from web.route import Call, Routes

routes = Routes("Integrations")
# A probe waits in its request's own greenlet, ends by the door's deadline (8 s for each address asked), and
# there are only a few at once: it holds up nobody else.
_PROBES: Final = threading.BoundedSemaphore(4)
_LONGEST_S: Final = 7 * 86_400


class Forced(Body):
    """`open`: nobody is called; `closed`: calls go on whatever happens; `auto`: left to itself again."""

    state: Literal["open", "closed", "auto"]
    for_s: int = Field(default=3600, ge=1, le=_LONGEST_S)
    reason: str = Field(default="", max_length=300)

    @model_validator(mode="after")
    def _has_a_reason(self) -> Forced:
        if self.state != "auto" and not self.reason.strip():
            raise ValueError("say why: a reason is required for open and closed")
        return self


@routes.get("/integrations", transaction=False, summary="What is connected, and how it went last")
def list_(call: Call) -> dict[str, Any]:
    made = call.services
    return {"items": listed(made.db, made.live, made.settings), "next_cursor": None}


@routes.post(
    "/integrations/{name}/test", transaction=False, summary="Ask an integration once, without effects"
)
def test(call: Call, name: str) -> dict[str, Any]:
    made = call.services
    made.gate.check("integration-test", made.settings.limits.run_per_min, call.principal.name)
    with made.db.transaction() as session:
        integration = one(session, made.settings, name)
    if not _PROBES.acquire(blocking=False):
        raise TooManyRequests(2)
    try:
        found = probe(integration, made.settings, made.db)
    finally:
        _PROBES.release()
    return {"ok": found.ok, "took_ms": found.took_ms, "detail": found.detail}


@routes.post(
    "/integrations/{name}/breaker",
    role=Role.ADMIN,
    body=Forced,
    summary="Force a breaker open or closed for a while",
)
def force(call: Call, name: str, body: Forced) -> dict[str, Any]:
    return force_breaker(
        call.session,
        one(call.session, call.services.settings, name),
        state=body.state,
        for_s=body.for_s,
        reason=body.reason.strip(),
        actor=call.actor,
    )
