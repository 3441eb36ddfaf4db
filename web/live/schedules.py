"""The frame `schedule {job, action, key?, …}`: pause, resume and edit, as the API does them.

The fields beside `action` are those of the API's bodies. A `key` makes it once: with the same key as
`Idempotency-Key` it is the same request over HTTP.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from tenure.accounts.principal import Principal, Role
from tenure.audit.record import Actor
from tenure.errors import Forbidden, Invalid
from tenure.iterations.catalog import job_named
from web.api.schedules import Pause, ScheduleChange, act
from web.body import Body, Empty
from web.idempotency import identified
from web.live.subscriptions import Outcome
from web.problem import field_errors
from web.route import PREFIX

if TYPE_CHECKING:
    from web.live.connection import Connection
    from web.live.hub import Hub

_LONGEST_KEY: Final = 200
_FRAME: Final = frozenset({"type", "rid", "job", "action", "key"})
# Action -> the body's model, and the request over HTTP that is the same.
_ACTIONS: Final[dict[str, tuple[type[Body], str, str]]] = {
    "pause": (Pause, "POST", "/schedules/{job}/pause"),
    "resume": (Empty, "POST", "/schedules/{job}/resume"),
    "edit": (ScheduleChange, "PATCH", "/schedules/{job}"),
}


def actor_of(principal: Principal) -> Actor:
    """Who asks, as the audit log wants it."""
    return Actor(principal.name, role=principal.role.value, user_id=principal.id)


def schedule(hub: Hub, connection: Connection, document: Mapping[str, Any]) -> Outcome:
    """Carry it out, once a key; the answer is the schedule as it stands then."""
    principal, made = connection.principal, hub.services
    if principal is None or not principal.may(Role.OPERATOR):
        raise Forbidden
    action, name, key = document.get("action"), document.get("job"), document.get("key")
    if not isinstance(action, str) or action not in _ACTIONS:
        raise Invalid.field("action", "unknown", f"give an action: {', '.join(_ACTIONS)}")
    if not isinstance(name, str):
        raise Invalid.field("job", "missing", "give a job")
    if key is not None and not (isinstance(key, str) and 0 < len(key) <= _LONGEST_KEY):
        raise Invalid.field("key", "text", f"a key is a text of at most {_LONGEST_KEY} characters")
    job = job_named(made.settings, name)
    model, method, path = _ACTIONS[action]
    plain = {field: value for field, value in document.items() if field not in _FRAME}
    body = _read(model, plain)
    with made.db.transaction() as session:
        if key is None:
            return Outcome(act(session, job, body, actor=actor_of(principal)))
        address = PREFIX + path.replace("{job}", job.name)
        repeat = identified(actor=principal.name, key=key, method=method, path=address, body=plain)
        stored = repeat.claim(session)
        if stored is not None:
            return Outcome(stored.body, duplicate=True)
        result = act(session, job, body, actor=actor_of(principal))
        repeat.store(session, 200, result, secret=False)
        return Outcome(result)


def _read(model: type[Body], plain: Mapping[str, Any]) -> Body:
    try:
        return model.model_validate_json(json.dumps(plain), strict=True)
    except ValidationError as error:
        raise Invalid("some fields are not valid", errors=field_errors(error)) from None
