"""Limits at the gate, counted in the live Valkey so that all web processes share them."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import redis
from flask import Flask, Response, request
from flask_limiter import ApplicationLimit, Limiter
from limits import RateLimitItemPerMinute

from tenure.errors import NotFound, TooManyRequests, Unauthenticated
from tenure.kit.logging import get_logger
from tenure.kit.valkey import no_retry
from tenure.settings import Settings
from web.auth import bearer
from web.origin import client_address, counted_as

log = get_logger(__name__)
# Not counted: probes, the console's files, the socket, which has limits of its own, and webhooks, of which
# only the refused ones count: a provider that tells of many payments at once is no flood.
_FREE: Final = ("/livez", "/readyz", "/metrics", "/static/", "/assets/", "/ws", "/flower/", "/hooks/")
_PREFIX: Final = "tenure:limit"


class Gate:
    """Counts and refuses. When the live Valkey is away nothing is refused: limits are not worth an outage."""

    def __init__(self, settings: Settings) -> None:
        """Limits of the settings; 0 turns one off."""
        self.limits = settings.limits
        per_minute = settings.limits.api_per_min
        self._limiter = Limiter(
            lambda: _who(settings),
            application_limits=[ApplicationLimit(f"{per_minute}/minute")] if per_minute else [],
            strategy="sliding-window-counter",
            storage_uri=settings.require_live_url(),
            storage_options={
                "socket_timeout": 1,
                "socket_connect_timeout": 1,
                "retry": no_retry(),  # type: ignore[dict-item]  # handed on to the client as it is
            },
            headers_enabled=True,
            retry_after="delta-seconds",
            swallow_errors=True,
            key_prefix=_PREFIX,
        )

    def install(self, app: Flask) -> None:
        """Count every request of the API."""
        self._limiter.init_app(app)
        self._limiter.request_filter(lambda: request.path == "/" or request.path.startswith(_FREE))

    def wait_s(self, name: str, per_minute: int, who: str) -> float | None:
        """None when this act is within its limit (and counted), else the seconds until the next try."""
        if not per_minute:
            return None
        item = RateLimitItemPerMinute(per_minute, namespace=_PREFIX)
        strategy = self._limiter.limiter
        try:
            if strategy.hit(item, name, who):
                return None
            reset = strategy.get_window_stats(item, name, who).reset_time
            now = self._limiter.storage.storage.time()  # type: ignore[attr-defined]
        except redis.RedisError as error:
            log.warning("limits.unavailable", error_type=type(error).__name__)
            return None
        return max(1.0, float(reset) - float(now[0]))

    def check(self, name: str, per_minute: int, who: str) -> None:
        """Count this act. Raises TooManyRequests over the limit."""
        wait = self.wait_s(name, per_minute, who)
        if wait is not None:
            raise TooManyRequests(math.ceil(wait))

    @contextmanager
    def refusals_counted(self, address: str) -> Iterator[None]:
        """Count each refusal of the block against the address, however the request named itself.

        Raises TooManyRequests instead of the refusal over the limit: made-up credentials gain no limit of
        their own. Whoever is believed is not touched by others behind the same address.
        """
        try:
            yield
        except (Unauthenticated, NotFound):
            self.check("refused", self.limits.api_per_min, counted_as(address))
            raise


def _who(settings: Settings) -> str:
    credential = bearer(request)
    if credential is not None:
        return "credential:" + hashlib.sha256(credential.encode()).hexdigest()[:32]
    return "address:" + counted_as(client_address(request, settings))


def retry_after(answer: Response) -> Response:
    """`Retry-After` on every 429, never below a second."""
    if answer.status_code == 429 and int(answer.headers.get("Retry-After", "0") or 0) < 1:  # noqa: PLR2004
        answer.headers["Retry-After"] = "1"
    return answer
