"""Ids: a prefix that names the kind, then time-ordered hexadecimal.

They are made by the client (here, or by `tenure_id()` in SQL with the same layout), so a write whose COMMIT
answer was lost can be asked for again by its id. Sorting by id is sorting by creation, to the
millisecond.
"""

from __future__ import annotations

import re
import secrets
from typing import Final

from tenure.kit import clock

_SHAPE: Final = re.compile(r"[a-z]{3,4}_[0-9a-f]{28}")


def new_id(prefix: str) -> str:
    """A new id: 48 bits of milliseconds, then 64 random bits."""
    return f"{prefix}_{clock.unix_ms():012x}{secrets.token_hex(8)}"


def is_id(text: str, prefix: str) -> bool:
    """Whether the text has the shape of an id of this kind."""
    return text.startswith(f"{prefix}_") and _SHAPE.fullmatch(text) is not None
