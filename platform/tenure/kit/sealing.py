"""Secrets at rest: sealed with AES-256-GCM under a key derived from the signing key.

What is sealed is bound to what it belongs to, so a row's secret cannot be moved to another row.
"""

from __future__ import annotations

import secrets
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tenure.errors import Permanent

# The first byte names the format, so that another can follow.
_FORMAT: Final = b"\x01"
_NONCE_BYTES: Final = 12
_KEY_BYTES: Final = 32


class Unreadable(Permanent):
    """A sealed secret cannot be opened: it was sealed under another TENURE_SECRET_KEY."""

    code = "secret_unreadable"


class Sealer:
    """Seals and opens secrets of one purpose."""

    def __init__(self, key: str, *, purpose: str) -> None:
        """`purpose` makes the derived key another one than those of all other purposes."""
        derived = HKDF(
            algorithm=hashes.SHA256(), length=_KEY_BYTES, salt=None, info=f"tenure {purpose}".encode()
        ).derive(key.encode())
        self._cipher = AESGCM(derived)

    def seal(self, secret: str, *, about: str) -> bytes:
        """The sealed secret; `about` is the id of what it belongs to."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return _FORMAT + nonce + self._cipher.encrypt(nonce, secret.encode(), about.encode())

    def open(self, sealed: bytes, *, about: str) -> str:
        """The secret. Raises Unreadable for another key, another owner, or changed bytes."""
        body = sealed[len(_FORMAT) :]
        if not sealed.startswith(_FORMAT):
            raise Unreadable
        try:
            return self._cipher.decrypt(body[:_NONCE_BYTES], body[_NONCE_BYTES:], about.encode()).decode()
        except (InvalidTag, ValueError):
            raise Unreadable from None
