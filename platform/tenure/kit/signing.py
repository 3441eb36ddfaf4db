"""Signatures of messages over HTTP, as Standard Webhooks 1.0.0 defines them.

HMAC-SHA256 over `id.timestamp.body`, sent in three headers. Several secrets may be live at once, so that one
can be changed without a lost message. The receiver must keep ids to recognize repeats.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import Final

from tenure.errors import Invalid, Unauthenticated

ID_HEADER: Final = "webhook-id"
TIMESTAMP_HEADER: Final = "webhook-timestamp"
SIGNATURE_HEADER: Final = "webhook-signature"
TOLERANCE_S: Final = 300

_PREFIX: Final = "whsec_"
_VERSION: Final = "v1,"
_LONGEST_TIMESTAMP: Final = 12


class BadSignature(Unauthenticated):
    """The signature is missing, wrong or too old."""

    code = "bad_signature"


def key_bytes(secret: str) -> bytes:
    """The key that a secret stands for: base64 after `whsec_`, otherwise its UTF-8 bytes."""
    if not secret.startswith(_PREFIX):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise Invalid("a secret that starts with whsec_ must be base64 after it") from None


def signature(secret: str, *, message_id: str, timestamp: int, body: bytes) -> str:
    """One signature, `v1,` and base64."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    digest = hmac.new(key_bytes(secret), signed, hashlib.sha256).digest()
    return _VERSION + base64.b64encode(digest).decode()


def signed_headers(secrets: Sequence[str], *, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The three headers; with several secrets the receiver may know any one of them."""
    signatures = [
        signature(secret, message_id=message_id, timestamp=timestamp, body=body) for secret in secrets
    ]
    return {
        ID_HEADER: message_id,
        TIMESTAMP_HEADER: str(timestamp),
        SIGNATURE_HEADER: " ".join(signatures),
    }


def verify(
    secrets: Sequence[str],
    *,
    headers: Mapping[str, str],
    body: bytes,
    now: int,
    tolerance_s: int = TOLERANCE_S,
) -> str:
    """The message's id. Raises BadSignature when no secret made one of the signatures, or the time is off.

    `body` is the raw body as received. The time may be off by the tolerance in both directions.
    """
    given = {name.lower(): value for name, value in headers.items()}
    message_id, stamp = given.get(ID_HEADER, ""), given.get(TIMESTAMP_HEADER, "")
    if not message_id or not (stamp.isascii() and stamp.isdigit() and len(stamp) <= _LONGEST_TIMESTAMP):
        raise BadSignature("the signature's headers are missing or malformed")
    timestamp = int(stamp)
    if abs(now - timestamp) > tolerance_s:
        raise BadSignature("the signature is too old, or from the future")
    expected = [
        signature(secret, message_id=message_id, timestamp=timestamp, body=body).encode()
        for secret in secrets
    ]
    candidates = given.get(SIGNATURE_HEADER, "").encode("utf-8", "surrogateescape").split(b" ")
    # Every pair is compared, each in constant time: how long this takes tells nothing about the secret.
    matches = [hmac.compare_digest(one, candidate) for one in expected for candidate in candidates]
    if not any(matches):
        raise BadSignature("the signature is wrong")
    return message_id
