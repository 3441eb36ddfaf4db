"""How values are written in environment variables: booleans, JSON, lists with commas."""

from __future__ import annotations

import json
from typing import Final

from pydantic import SecretStr

from tenure.errors import Invalid
from tenure.kit import signing

_TRUE: Final = {"1", "true"}
_FALSE: Final = {"0", "false"}


def boolean(value: object) -> object:
    """1, 0, true or false as a boolean; what is no text stays."""
    if isinstance(value, str):
        if value.lower() in _TRUE:
            return True
        if value.lower() in _FALSE:
            return False
        raise ValueError("write 1, 0, true or false")
    return value


def json_value(value: object) -> object:
    """The value of a JSON text; what is no text stays."""
    if isinstance(value, str):
        try:
            return json.loads(value)
        except json.JSONDecodeError as error:
            raise ValueError(f"not JSON: {error.msg} at column {error.colno}") from None
    return value


def comma_list(value: object) -> object:
    """The parts of a text with commas; what is no text stays."""
    if isinstance(value, str):
        return tuple(part.strip().rstrip("/") for part in value.split(",") if part.strip())
    return value


def signing_secret(value: SecretStr) -> SecretStr:
    """The same secret, when a message can be signed with it."""
    try:
        key = signing.key_bytes(value.get_secret_value())
    except Invalid as error:
        raise ValueError(error.message) from None
    if not key:
        raise ValueError("must not be empty: anybody could sign with it")
    return value
