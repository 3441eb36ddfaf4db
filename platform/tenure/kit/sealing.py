"""Secrets at rest: sealed with AES-256-GCM under a key derived from the ring's current key.

What is sealed names its key, and is bound to what it belongs to, so that a row's secret cannot be moved to
another row.
"""

from __future__ import annotations

import secrets
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tenure.errors import Permanent
from tenure.kit.keyring import FIRST, RingKey, RingSource, source_of

# The first byte names the format: sealed with the first key, or with one whose name follows.
_PLAIN: Final = b"\x01"
_NAMED: Final = b"\x02"
_NONCE_BYTES: Final = 12
_KEY_BYTES: Final = 32


class Unreadable(Permanent):
    """A sealed secret cannot be opened: it was sealed under another TENURE_SECRET_KEY."""

    code = "secret_unreadable"


class Sealer:
    """Seals and opens secrets of one purpose."""

    def __init__(self, keys: str | RingSource, *, purpose: str) -> None:
        """`purpose` makes the derived keys others than those of all other purposes."""
        self._source = source_of(keys)
        self._purpose = purpose

    def seal(self, secret: str, *, about: str) -> bytes:
        """The sealed secret; `about` is the id of what it belongs to."""
        key = self._source.ring().current
        nonce = secrets.token_bytes(_NONCE_BYTES)
        body = nonce + self._cipher(key).encrypt(nonce, secret.encode(), about.encode())
        if key.kid == FIRST:
            return _PLAIN + body
        name = key.kid.encode()
        return _NAMED + bytes([len(name)]) + name + body

    def open(self, sealed: bytes, *, about: str) -> str:
        """The secret. Raises Unreadable for an unknown key, another owner, or changed bytes."""
        kid, body = _parted(sealed)
        known = self._source.ring().readable.get(kid) or self._source.fresh().readable.get(kid, ())
        for key in known:
            try:
                return (
                    self._cipher(key)
                    .decrypt(body[:_NONCE_BYTES], body[_NONCE_BYTES:], about.encode())
                    .decode()
                )
            except (InvalidTag, ValueError):
                continue  # of the first key there may be another
        raise Unreadable

    def _cipher(self, key: RingKey) -> AESGCM:
        info = f"tenure {self._purpose}".encode()
        derived = HKDF(algorithm=hashes.SHA256(), length=_KEY_BYTES, salt=None, info=info)
        return AESGCM(derived.derive(key.secret.encode()))


def _parted(sealed: bytes) -> tuple[str, bytes]:
    if sealed.startswith(_PLAIN):
        return FIRST, sealed[1:]
    if sealed.startswith(_NAMED) and len(sealed) > 1:
        end = 2 + sealed[1]
        return sealed[2:end].decode("ascii", "replace"), sealed[end:]
    raise Unreadable
