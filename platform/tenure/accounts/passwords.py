"""Passwords: hashed with argon2id, checked in the same time whether or not the user exists."""

from __future__ import annotations

import secrets
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from tenure.errors import Invalid

SHORTEST: Final = 8
LONGEST: Final = 1024
# OWASP's recommendation for argon2id: 19 MiB, two passes, one lane.
_HASHER: Final = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
# Checked in place of a missing user's hash: unknown addresses take as long as known ones.
_NOBODY: Final = _HASHER.hash(secrets.token_urlsafe(16))


def hashed(password: str) -> str:
    """The hash to store. Raises Invalid for a password that is too short or too long."""
    if not SHORTEST <= len(password) <= LONGEST:
        raise Invalid.field("password", "length", f"a password has {SHORTEST} to {LONGEST} characters")
    return _HASHER.hash(password)


def matches(password_hash: str | None, password: str) -> bool:
    """Whether this is the password. `None` (no such user) takes as long and is never true."""
    try:
        _HASHER.verify(password_hash or _NOBODY, password)
    except (VerificationError, InvalidHashError):
        return False
    return password_hash is not None


def hashed_anew(password_hash: str, password: str) -> str | None:
    """What to store of a right password whose hash was made with other costs; None when it need not be."""
    return _HASHER.hash(password) if _HASHER.check_needs_rehash(password_hash) else None


def generated() -> str:
    """A new password that a person can type: 120 random bits."""
    return secrets.token_urlsafe(15)
