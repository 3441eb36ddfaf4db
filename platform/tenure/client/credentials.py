"""Who the client is: an API key, or a person's sign-in that is renewed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Final, Protocol

from tenure.client.errors import Problem
from tenure.kit import clock

Post = Callable[[str, dict[str, Any]], Any]
_RENEW_BEFORE_S: Final = 30.0
_UNAUTHORIZED: Final = 401


class Credential(Protocol):
    """What the client shows to the server."""

    def token(self) -> str:
        """A token that should be good now. Raises what signing in raises."""

    def renew(self) -> bool:
        """The token was refused: whether another one could be had."""


class ApiKey:
    """A fixed key; it works until it is revoked."""

    def __init__(self, key: str) -> None:
        """`key` begins with `tnk_`."""
        self._key = key

    def token(self) -> str:
        """The key."""
        return self._key

    def renew(self) -> bool:
        """There is no other one."""
        return False


class SignIn:
    """An e-mail address and a password; signs in when first needed and renews the tokens."""

    def __init__(self, post: Post, email: str, password: str) -> None:
        """`post(path, json)` calls the API without a credential."""
        self._post = post
        self._given = {"email": email, "password": password, "transport": "body"}
        self._lock = threading.RLock()
        self._token: str | None = None
        self._refresh_token: str | None = None
        self._until = 0.0

    def token(self) -> str:
        """A token that lasts another half minute at least."""
        with self._lock:
            if self._token is None or clock.monotonic() > self._until - _RENEW_BEFORE_S:
                return self._renewed()
            return self._token

    def renew(self) -> bool:
        """Get the next token whatever the old one's age."""
        with self._lock:
            self._renewed()
        return True

    def _renewed(self) -> str:
        answer = None
        if self._refresh_token is not None:
            try:
                answer = self._post("/auth/refresh", {"refresh_token": self._refresh_token})
            except Problem as problem:
                if problem.answered_status != _UNAUTHORIZED:
                    raise
        if answer is None:
            answer = self._post("/auth/login", self._given)
        token: str = answer["access_token"]
        self._token, self._refresh_token = token, answer.get("refresh_token")
        self._until = clock.monotonic() + float(answer["expires_in"])
        return token
