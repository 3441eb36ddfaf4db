"""Tokens: short-lived access tokens (JWT), and refresh tokens that are derived instead of stored.

A refresh token is `tnr_<session>.<generation>.<mac>`: the mac is an HMAC of session and generation under a
key derived from the install's. Whoever reads the database cannot make one, and the server can make the
successor again when its first answer was lost on the way.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from typing import Final

import jwt

from tenure.errors import Unauthenticated
from tenure.kit.keyring import FIRST, Ring, RingKey, RingSource, source_of

ACCESS_S: Final = 900
_ALGORITHM: Final = "HS256"
_AUDIENCE: Final = "tenure"
_REQUIRED: Final = ["exp", "iat", "aud", "sub", "jti", "typ", "sid"]
_REFRESH: Final = re.compile(r"tnr_(ses_[0-9a-f]{28})\.([1-9][0-9]{0,8})\.([A-Za-z0-9_-]{43})")
_LONGEST: Final = 4096


@dataclass(frozen=True, slots=True)
class AccessClaims:
    """What a genuine access token says; whether it still holds is for the database's clock to decide."""

    user_id: str
    session_id: str
    expires_at: int


class Tokens:
    """Makes tokens under the ring's current key, and reads those of every key that is still believed.

    Access and refresh tokens have keys of their own, derived from the ring's.
    """

    def __init__(self, keys: str | RingSource) -> None:
        """`keys` is the install's key ring, or its one key."""
        self._source = source_of(keys)

    def access(self, *, user_id: str, session_id: str, now: int) -> str:
        """An access token that holds for 15 minutes from `now` (unix seconds of the database)."""
        claims = {
            "sub": user_id,
            "sid": session_id,
            "aud": _AUDIENCE,
            "typ": "access",
            "jti": secrets.token_hex(16),
            "iat": now,
            "exp": now + ACCESS_S,
        }
        key = self._source.ring().current
        return jwt.encode(claims, _access_key(key), algorithm=_ALGORITHM, headers={"kid": key.kid})

    def read_access(self, token: str) -> AccessClaims:
        """The claims of a token that we made. Raises Unauthenticated for any other.

        Expiry is not judged here: the caller compares `expires_at` with the database's clock.
        """
        if len(token) > _LONGEST:
            raise Unauthenticated("the token is not valid", code="bad_token")
        try:
            claims = jwt.decode(
                token,
                _access_key(self._named(jwt.get_unverified_header(token).get("kid", FIRST))),
                algorithms=[_ALGORITHM],
                audience=_AUDIENCE,
                options={"require": _REQUIRED, "verify_exp": False, "verify_iat": False},
            )
        except jwt.InvalidTokenError:
            raise Unauthenticated("the token is not valid", code="bad_token") from None
        expires = claims["exp"]
        if claims["typ"] != "access" or not isinstance(expires, int) or not isinstance(claims["sid"], str):
            raise Unauthenticated("the token is not valid", code="bad_token")
        return AccessClaims(user_id=claims["sub"], session_id=claims["sid"], expires_at=expires)

    def refresh(self, session_id: str, generation: int) -> str:
        """The refresh token of this generation of the session: always the same text."""
        mac = _mac(self._source.ring().current, session_id, generation)
        return f"tnr_{session_id}.{generation}.{mac}"

    def read_refresh(self, token: str) -> tuple[str, int]:
        """Session and generation of a refresh token that we made. Raises Unauthenticated for any other."""
        match = _REFRESH.fullmatch(token)
        if match is None:
            raise Unauthenticated("the refresh token is not valid", code="bad_token")
        session_id, generation = match[1], int(match[2])
        if not (
            _is_mac_of(self._source.ring(), match[3], session_id, generation)
            or _is_mac_of(self._source.fresh(), match[3], session_id, generation)
        ):
            raise Unauthenticated("the refresh token is not valid", code="bad_token")
        return session_id, generation

    def _named(self, kid: str) -> RingKey:
        """The key of this name, if it is still believed; another process may have made it just now."""
        key = self._source.ring().accepted.get(kid) or self._source.fresh().accepted.get(kid)
        if key is None:
            raise Unauthenticated("the token is not valid any more", code="bad_token")
        return key


def _is_mac_of(ring: Ring, given: str, session_id: str, generation: int) -> bool:
    # A refresh token names no key: each that is believed is tried.
    matches = [
        hmac.compare_digest(given, _mac(key, session_id, generation)) for key in ring.accepted.values()
    ]
    return any(matches)


def _mac(key: RingKey, session_id: str, generation: int) -> str:
    derived = _derived(key.secret, b"tenure refresh token 1")
    digest = hmac.digest(derived, f"{session_id}.{generation}".encode(), "sha256")
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def _access_key(key: RingKey) -> bytes:
    return _derived(key.secret, b"tenure access token 1")


def _derived(key: str, purpose: bytes) -> bytes:
    return hmac.digest(key.encode(), purpose, hashlib.sha256)
