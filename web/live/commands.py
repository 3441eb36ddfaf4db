"""What clients ask over the socket. A frame with `rid` gets exactly one `ack` or `error`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import redis

from tasks import enqueue
from tenure.accounts.authenticate import authenticate
from tenure.accounts.principal import Principal, Role
from tenure.errors import Conflict, Forbidden, Invalid, NotFound, TenureError, Transient, Unauthenticated
from tenure.iterations import operate
from tenure.iterations.catalog import job_named
from tenure.kit import clock
from tenure.kit.logging import get_logger
from tenure.kit.times import rfc3339
from web import body
from web.live import frames, messages
from web.live.frames import Close
from web.live.schedules import actor_of, schedule
from web.live.subscriptions import Outcome, subscribe
from web.live.tickets import use_ticket

if TYPE_CHECKING:
    from web.live.connection import Connection
    from web.live.hub import Hub

log = get_logger("web.live")
Document = Mapping[str, Any]
_STRIKES: Final = 3
_LONGEST_RID: Final = 128
_LONGEST_KEY: Final = 200
_BEFORE_AUTH: Final = frozenset({"auth", "ping", "pong"})


class Malformed(TenureError):
    """The frame is not a JSON object with a type."""

    code = "malformed"


class UnknownType(TenureError):
    """There is no such type of frame."""

    code = "unknown_type"


class Throttled(TenureError):
    """Too many runs."""

    code = "throttled"


def handle(hub: Hub, connection: Connection, text: str) -> None:
    """Carry out one message. Errors are answered; only our own faults are raised."""
    rid: str | int | None = None
    try:
        document = _read(text)
        rid = _rid(document)
        outcome = _dispatch(hub, connection, document)
    except (TenureError, redis.RedisError) as error:
        _refuse(hub, connection, rid, error)
        return
    # Without a `rid` only what the client cannot do without is answered.
    if rid is not None or (outcome is not None and document["type"] in {"subscribe", "run", "schedule"}):
        fields: messages.Ack = {"result": dict(outcome.result) if outcome else {}}
        if rid is not None:
            fields["rid"] = rid
        if outcome is not None and outcome.duplicate:
            fields["duplicate"] = True
        connection.send(frames.message("ack", fields))
    if outcome is not None and outcome.afterwards is not None:
        outcome.afterwards()


def _read(text: str) -> Document:
    try:
        document = body.parse(text.encode("utf-8"))
        body.refuse_unstorable(document)
    except TenureError:
        raise Malformed from None
    if not isinstance(document, dict) or not isinstance(document.get("type"), str):
        raise Malformed
    return document


def _rid(document: Document) -> str | int | None:
    rid = document.get("rid")
    if rid is None or (isinstance(rid, int) and not isinstance(rid, bool) and abs(rid) < 2**53):
        return rid
    if isinstance(rid, str) and 0 < len(rid) <= _LONGEST_RID:
        return rid
    raise Malformed("rid must be a short text or a number")


def rid_of(text: str) -> str | int | None:
    """The `rid` of a message that is not going to be carried out."""
    try:
        return _rid(_read(text))
    except TenureError:
        return None


def _refuse(hub: Hub, connection: Connection, rid: Any, error: Exception) -> None:
    code = _code(error)
    message = error.message if isinstance(error, TenureError) else "try again soon"
    fields: messages.Error = {"code": code, "message": message}
    if rid is not None:
        fields["rid"] = rid
    if isinstance(error, Invalid) and error.errors:
        fields["errors"] = [
            {"field": each.field, "code": each.code, "message": each.message} for each in error.errors
        ]
    retry = getattr(error, "extra", {}).get("retry_after_ms")
    if retry is not None:
        fields["retry_after_ms"] = retry
    elif code == "unavailable":
        fields["retry_after_ms"] = 1000
    if code == "throttled":
        hub.stats.throttled += 1
    connection.send(frames.message("error", fields))
    if code in {"malformed", "unknown_type"}:
        connection.strikes += 1
        if connection.strikes >= _STRIKES:
            connection.close(Close.MALFORMED, "three malformed frames")


_CODES: Final[tuple[tuple[type[Exception], messages.ErrorCode], ...]] = (
    (Malformed, "malformed"),
    (UnknownType, "unknown_type"),
    (Throttled, "throttled"),
    (Unauthenticated, "unauthenticated"),
    (Forbidden, "forbidden"),
    (NotFound, "not_found"),
    (Conflict, "idempotency_conflict"),
    (Transient, "unavailable"),
    (redis.RedisError, "unavailable"),
)


def _code(error: Exception) -> messages.ErrorCode:
    if isinstance(error, Invalid):
        return "too_many_channels" if error.instance_code == "too_many_channels" else "invalid"
    return next((code for kind, code in _CODES if isinstance(error, kind)), "invalid")


def _dispatch(hub: Hub, connection: Connection, document: Document) -> Outcome | None:
    command = _COMMANDS.get(document["type"])
    if command is None:
        raise UnknownType(f"there is no type {document['type'][:40]!r}")
    if connection.principal is None and document["type"] not in _BEFORE_AUTH:
        raise Unauthenticated("send auth first")
    return command(hub, connection, document)


def _ping(_hub: Hub, connection: Connection, document: Document) -> None:
    fields: messages.Pong = {"timestamp": clock.unix_ms() / 1000}
    given = document.get("id")
    if isinstance(given, str | int):
        fields["id"] = given
    connection.send(frames.message("pong", fields))


def _pong(_hub: Hub, _connection: Connection, _document: Document) -> None:
    """It has already counted as a sign of life."""


def _auth(hub: Hub, connection: Connection, document: Document) -> Outcome | None:
    if connection.principal is not None:
        raise Invalid("already authenticated: use auth-refresh")
    token, ticket = document.get("token"), document.get("ticket")
    try:
        principal = _identified(hub, token, ticket)
    except Unauthenticated as error:
        hub.stats.auth_failed += 1
        log.info("ws.auth_failed", connection=connection.id, address=connection.address)
        # The answer leaves before the goodbye.
        _refuse(hub, connection, _rid(document), error)
        connection.close(Close.AUTH, "auth_failed")
        return None
    admit(hub, connection, principal)
    return Outcome({"user": _shown(principal), "expires_at": _expires_at(principal)})


def _identified(hub: Hub, token: object, ticket: object) -> Principal:
    if isinstance(token, str) and ticket is None:
        return authenticate(hub.services.db, hub.services.tokens, token)
    if isinstance(ticket, str) and token is None:
        return use_ticket(hub.services, ticket)
    raise Unauthenticated("give a token or a ticket")


def admit(hub: Hub, connection: Connection, principal: Principal) -> None:
    """Let this principal in, unless it has too many connections over all nodes."""
    if not hub.census.enter(principal.name, hub.limits.ws_open_per_user):
        hub.stats.throttled += 1
        connection.close(Close.THROTTLED, "too many connections of this user")
        return
    if connection.gone:
        hub.census.leave(principal.name)
        return
    _belongs_to(connection, principal)
    log.info(
        "ws.authenticated",
        connection=connection.id,
        user=principal.name,
        role=principal.role.value,
        address=connection.address,
    )


def _auth_refresh(hub: Hub, connection: Connection, document: Document) -> Outcome:
    token, current = document.get("token"), connection.principal
    if not isinstance(token, str):
        raise Invalid("give a token")
    principal = authenticate(hub.services.db, hub.services.tokens, token)
    if current is None or principal.name != current.name:
        raise Forbidden("this token is somebody else's")
    _belongs_to(connection, principal)
    return Outcome({"expires_at": _expires_at(principal)})


def _belongs_to(connection: Connection, principal: Principal) -> None:
    """The connection is this principal's, until its token ends; the client is told."""
    connection.principal = principal
    connection.expiry_told = False
    left = None if principal.expires_at is None else principal.expires_at - clock.unix_seconds()
    connection.expires = 0.0 if left is None else clock.monotonic() + left
    who: messages.Authenticated = {"user": _shown(principal), "expires_at": _expires_at(principal)}
    connection.send(frames.message("authenticated", who))


def _expires_at(principal: Principal) -> str | None:
    if principal.expires_at is None:
        return None
    return rfc3339(datetime.fromtimestamp(principal.expires_at, tz=UTC))


def _shown(principal: Principal) -> messages.User:
    email = principal.label if principal.kind == "user" else None
    return {"id": principal.id, "email": email, "name": principal.label, "role": principal.role.value}


def _unsubscribe(hub: Hub, connection: Connection, document: Document) -> Outcome:
    names = document.get("channels")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise Invalid("channels must be a list of names")
    for name in names:
        if name in connection.channels:
            hub.leave(connection, name)
    return Outcome({"channels": sorted(connection.channels)})


def _run(hub: Hub, connection: Connection, document: Document) -> Outcome:
    principal, made = connection.principal, hub.services
    if principal is None or not principal.may(Role.OPERATOR):
        raise Forbidden
    job, scope, key = document.get("job"), document.get("scope", ""), document.get("key")
    if not isinstance(job, str) or not isinstance(scope, str) or len(scope) > _LONGEST_KEY:
        raise Invalid("give job, and scope as a text")
    if not isinstance(key, str) or not 0 < len(key) <= _LONGEST_KEY:
        raise Invalid("give a key: it makes the run idempotent")
    chosen = job_named(made.settings, job)
    wait = made.gate.wait_s("run", hub.limits.run_per_min, principal.name)
    if wait is not None:
        raise Throttled(retry_after_ms=int(wait * 1000))
    with made.db.transaction() as session:
        asked = operate.run_now(
            session, chosen, scope=scope, actor=actor_of(principal), user_id=principal.id, run_key=key
        )
    if not asked.duplicate:
        try:
            enqueue.publish_slot(made.door, asked.slot_id)
        except TenureError as error:  # the slot stands: a beat publishes it
            log.warning("ws.run_not_published", slot_id=asked.slot_id, error=error)
    result = {"slot_id": asked.slot_id, "due_at": rfc3339(asked.due_at)}
    return Outcome(result, duplicate=asked.duplicate)


_COMMANDS: Final[dict[str, Callable[[Hub, Connection, Document], Outcome | None]]] = {
    "auth": _auth,
    "auth-refresh": _auth_refresh,
    "subscribe": subscribe,
    "unsubscribe": _unsubscribe,
    "run": _run,
    "schedule": schedule,
    "ping": _ping,
    "pong": _pong,
}
