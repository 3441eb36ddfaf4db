"""One-time tickets for the WebSocket, and telling all hubs that a credential has ended."""

from __future__ import annotations

import hashlib
import json
import secrets
from typing import Final

import redis

from tenure.accounts.authenticate import confirm
from tenure.accounts.principal import Principal, Role
from tenure.errors import Unauthenticated, Unavailable
from tenure.kit.logging import get_logger
from web.services import Services

TICKET_S: Final = 30
CONTROL: Final = "tenure:live:control"
log = get_logger(__name__)


def make_ticket(made: Services, who: Principal) -> str:
    """A ticket that stands for this principal once, within 30 s. Raises Unavailable without Valkey."""
    ticket = "tkt_" + secrets.token_urlsafe(24)
    stored = {
        "kind": who.kind,
        "id": who.id,
        "role": who.role.value,
        "label": who.label,
        "session_id": who.session_id,
        "expires_at": who.expires_at,
    }
    try:
        made.live.set(_key(ticket), json.dumps(stored), ex=TICKET_S)
    except redis.RedisError as error:
        raise Unavailable("tickets cannot be made now") from error
    return ticket


def use_ticket(made: Services, ticket: str) -> Principal:
    """The principal of a ticket, which is used up by this. Raises Unauthenticated, Unavailable."""
    try:
        stored = made.live.getdel(_key(ticket))
    except redis.RedisError as error:
        raise Unavailable("tickets cannot be checked now") from error
    if stored is None:
        raise Unauthenticated("the ticket is not valid any more", code="bad_ticket")
    values = json.loads(str(stored))
    return confirm(made.db, Principal(**{**values, "role": Role(values["role"])}))


def tell_revoked(made: Services, *subjects: str) -> None:
    """Close the sockets of these sessions, users or keys on every node; best effort, they expire anyway."""
    try:
        made.live.publish(CONTROL, json.dumps({"revoked": subjects}))
    except redis.RedisError as error:
        log.warning("ws.revocation_not_told", error_type=type(error).__name__)


def _key(ticket: str) -> str:
    return "tenure:ticket:" + hashlib.sha256(ticket.encode()).hexdigest()
