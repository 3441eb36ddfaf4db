"""Every message of `/ws`, defined once: server frames by `event`, client frames by `type`.

The types of the sending code, the console's `messages.gen.ts` and `docs/reference/live.md` come from here
(`python docs/generate.py` writes the last two). Times are RFC 3339 in UTC unless a name ends in `_ms`.
"""

from __future__ import annotations

from typing import Any, Final, Literal, NotRequired, TypedDict

Rid = str | int
ErrorCode = Literal[
    "malformed", "unknown_type", "invalid", "unauthenticated", "forbidden", "not_found", "too_many_channels",
    "throttled", "idempotency_conflict", "unavailable",
]  # fmt: skip


class User(TypedDict):
    """Who a connection belongs to; `email` is null for an API key."""

    id: str
    email: str | None
    name: str
    role: str


class Position(TypedDict):
    """A place in a channel. `epoch` is opaque; after a new one old offsets mean nothing."""

    offset: int
    epoch: str


class FieldError(TypedDict):
    """One field that is not valid."""

    field: str
    code: str
    message: str


class Hello(TypedDict):
    """The first frame: what this server expects and offers; `history` is what a broad channel keeps."""

    connection: str
    protocol: Literal["tenure.v1"]
    ping_interval_ms: int
    pong_timeout_ms: int
    max_message: int
    history: int


class Authenticated(TypedDict):
    """The connection belongs to somebody. `expires_at` is null for what does not expire."""

    user: User
    expires_at: str | None


class Ack(TypedDict):
    """The one answer to a frame with this `rid` that was carried out; `duplicate` when it had been before."""

    rid: NotRequired[Rid]
    result: dict[str, Any]
    duplicate: NotRequired[Literal[True]]


class Error(TypedDict):
    """The one answer to a frame that was refused; nothing has changed."""

    rid: NotRequired[Rid]
    code: ErrorCode
    message: str
    errors: NotRequired[list[FieldError]]
    retry_after_ms: NotRequired[int]


class Event(TypedDict):
    """Something happened. `offset` follows the channel's last one; 0 is true only now, without history."""

    channel: str
    offset: int
    epoch: str
    id: str
    seq: int
    type: str
    ts: str
    data: dict[str, Any]


class Recovered(TypedDict):
    """What lay behind a `since` has been sent; without `complete` some of it is gone: refetch over HTTP."""

    channel: str
    complete: bool
    offset: int
    epoch: str


# `from` is a word of the language, so this one is written as a call.
Gap = TypedDict("Gap", {"channel": str, "from": int, "to": int})
Gap.__doc__ = """The events of this channel between these offsets, both included, could not be delivered."""


class Pong(TypedDict):
    """The answer to `ping`; `timestamp` is unix seconds."""

    timestamp: float
    id: NotRequired[Rid]


class AuthExpiring(TypedDict):
    """The token ends soon: send `auth-refresh` with a new one."""

    expires_in_ms: int


class Goodbye(TypedDict):
    """The server closes; come back after this time and resume."""

    reason: str
    reconnect_in_ms: int


class Auth(TypedDict):
    """Who we are: an access token or API key, or a ticket of `POST /ws-ticket`."""

    token: NotRequired[str]
    ticket: NotRequired[str]
    rid: NotRequired[Rid]


class AuthRefresh(TypedDict):
    """A new token of the same user, in place."""

    token: str
    rid: NotRequired[Rid]


class Subscribe(TypedDict):
    """Listen to these channels; behind a `since` nothing is missed."""

    channels: list[str]
    since: NotRequired[dict[str, Position]]
    rid: NotRequired[Rid]


class Unsubscribe(TypedDict):
    """Listen to these channels no more."""

    channels: list[str]
    rid: NotRequired[Rid]


class Run(TypedDict):
    """Run a job now (operator). The same `key` again gives the same slot."""

    job: str
    scope: NotRequired[str]
    key: str
    rid: NotRequired[Rid]


class Schedule(TypedDict):
    """Pause, resume or edit a schedule (operator), with the fields of the API's bodies."""

    job: str
    action: Literal["pause", "resume", "edit"]
    key: NotRequired[str]
    until: NotRequired[str | None]
    reason: NotRequired[str]
    every_s: NotRequired[float | None]
    cron: NotRequired[str | None]
    timezone: NotRequired[str]
    enabled: NotRequired[bool]
    rid: NotRequired[Rid]


class Ping(TypedDict):
    """Ask for a `pong`."""

    id: NotRequired[Rid]
    rid: NotRequired[Rid]


class ClientPong(TypedDict):
    """A sign of life; nothing answers it, unless it has a `rid`."""

    rid: NotRequired[Rid]


SERVER: Final[dict[str, type]] = {
    "hello": Hello,
    "authenticated": Authenticated,
    "ack": Ack,
    "error": Error,
    "event": Event,
    "recovered": Recovered,
    "gap": Gap,
    "pong": Pong,
    "auth_expiring": AuthExpiring,
    "goodbye": Goodbye,
}
CLIENT: Final[dict[str, type]] = {
    "auth": Auth,
    "auth-refresh": AuthRefresh,
    "subscribe": Subscribe,
    "unsubscribe": Unsubscribe,
    "run": Run,
    "schedule": Schedule,
    "ping": Ping,
    "pong": ClientPong,
}
