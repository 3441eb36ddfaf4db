"""Ids: a prefix that names the kind, then time-ordered hexadecimal.

They are made by the client (here, or by `tenure_id()` in SQL with the same layout), so a write whose COMMIT
answer was lost can be asked for again by its id. Sorting by id is sorting by creation, to the millisecond;
what one thread makes ascends also within one: a credit comes before the debit that spends it.
"""

from __future__ import annotations

import re
import secrets
import threading
from typing import Final

from tenure.kit import clock

_SHAPE: Final = re.compile(r"[a-z]{3,4}_[0-9a-f]{28}")


_RANDOM_BITS: Final = 64
# The next one of the same millisecond lies higher by so many random bits: no forked process makes it too.
_STEP: Final = (1 << 40) - 1


class _Newest(threading.local):
    """The newest id of this thread, as a number. There is no lock that a fork could find taken."""

    value = 0


_newest: Final = _Newest()


def new_id(prefix: str) -> str:
    """A new id: 48 bits of milliseconds, then 64 random bits (RFC 9562, section 6.2, method 2)."""
    value = clock.unix_ms() << _RANDOM_BITS | secrets.randbits(_RANDOM_BITS)
    before = _newest.value
    if value <= before and value >> _RANDOM_BITS == before >> _RANDOM_BITS:
        value = before + 1 + (value & _STEP)
    _newest.value = value
    return f"{prefix}_{value:028x}"


def is_id(text: str, prefix: str) -> bool:
    """Whether the text has the shape of an id of this kind."""
    return text.startswith(f"{prefix}_") and _SHAPE.fullmatch(text) is not None
