"""Frames that leave: encoded once, then the same bytes go to every socket that gets them.

Server frames carry no mask, so one encoding serves all. Frames that come in are parsed by wsproto.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from enum import IntEnum
from typing import Any, Final, Literal, overload

from web.live import messages

PING: Final = b"\x89\x00"
_TEXT: Final = 0x81
_PONG: Final = 0x8A
_CLOSE: Final = 0x88
_SHORT: Final = 126
_MEDIUM: Final = 1 << 16
_LONGEST_REASON: Final = 123


class Close(IntEnum):
    """Close codes. Their meaning for the client is part of the contract."""

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL = 1002
    BINARY = 1003
    NO_CODE = 1005
    BAD_UTF8 = 1007
    TOO_LARGE = 1009
    INTERNAL = 1011
    MALFORMED = 4000
    AUTH = 4001
    FORBIDDEN = 4003
    DEAD = 4008
    STATE_LOST = 4010
    THROTTLED = 4029


@overload
def message(event: Literal["hello"], fields: messages.Hello) -> bytes: ...
@overload
def message(event: Literal["authenticated"], fields: messages.Authenticated) -> bytes: ...
@overload
def message(event: Literal["ack"], fields: messages.Ack) -> bytes: ...
@overload
def message(event: Literal["error"], fields: messages.Error) -> bytes: ...
@overload
def message(event: Literal["event"], fields: messages.Event) -> bytes: ...
@overload
def message(event: Literal["recovered"], fields: messages.Recovered) -> bytes: ...
@overload
def message(event: Literal["gap"], fields: messages.Gap) -> bytes: ...
@overload
def message(event: Literal["pong"], fields: messages.Pong) -> bytes: ...
@overload
def message(event: Literal["auth_expiring"], fields: messages.AuthExpiring) -> bytes: ...
@overload
def message(event: Literal["goodbye"], fields: messages.Goodbye) -> bytes: ...
def message(event: str, fields: Any) -> bytes:
    """One server message as a text frame."""
    return text({"event": event, **fields})


def text(document: Mapping[str, Any]) -> bytes:
    """A document as a text frame."""
    return _frame(_TEXT, json.dumps(document, separators=(",", ":"), default=str).encode())


def pong(payload: bytes) -> bytes:
    """The answer to a protocol ping."""
    return _frame(_PONG, payload)


def close(code: int, reason: str = "") -> bytes:
    """A close frame; without a code where the peer gave none."""
    if code == Close.NO_CODE:
        return _frame(_CLOSE, b"")
    # A reason that is too long is cut between two letters.
    shown = reason.encode()[:_LONGEST_REASON].decode("utf-8", "ignore").encode()
    return _frame(_CLOSE, struct.pack("!H", code) + shown)


def _frame(first: int, payload: bytes) -> bytes:
    size = len(payload)
    if size < _SHORT:
        return struct.pack("!BB", first, size) + payload
    if size < _MEDIUM:
        return struct.pack("!BBH", first, _SHORT, size) + payload
    return struct.pack("!BBQ", first, _SHORT + 1, size) + payload
