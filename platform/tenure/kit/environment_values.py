"""How values are written in environment variables: booleans, JSON, lists with commas."""

from __future__ import annotations

import json
from typing import Final

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
