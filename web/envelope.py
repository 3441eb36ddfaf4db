"""What every request and answer carries: request id, security headers, exact CORS, one access-log line."""

from __future__ import annotations

import re
from typing import Final

import structlog
from flask import Flask, Response, g, request
from werkzeug.exceptions import RequestHeaderFieldsTooLarge

from tenure.kit import clock
from tenure.kit.ids import new_id
from tenure.kit.logging import get_logger
from web.limits import retry_after
from web.origin import client_address, is_https
from web.services import Services

log = get_logger("web.access")
_GIVEN_ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,100}")
_SECRET_PATH: Final = re.compile(r"^/pay/[^/]+")
PAGE_CSP: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
DATA_CSP: Final = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
# On every answer, besides the Content-Security-Policy of its kind.
SECURITY_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=()",
    "Cache-Control": "no-store",
}
_EXPOSED: Final = (
    "ETag, Idempotent-Replay, Retry-After, "
    "X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, X-Request-Id"
)
_ALLOWED: Final = "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, X-Request-Id"
# Gunicorn bounds each header (8 KiB) and their number; this bounds all of them.
_LARGEST_HEADERS: Final = 65_536
_QUIET: Final = ("/livez", "/readyz", "/metrics", "/ws")


def install(app: Flask, made: Services) -> None:
    """Wrap every request of the application."""

    def begin() -> Response | None:
        given = request.headers.get("X-Request-Id", "")
        g.request_id = given if _GIVEN_ID.fullmatch(given) else new_id("req")
        g.began = clock.monotonic()
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=g.request_id)
        if sum(len(name) + len(value) for name, value in request.headers) > _LARGEST_HEADERS:
            raise RequestHeaderFieldsTooLarge("all headers together may have 64 KiB")
        if request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
            return Response(status=204)
        return None

    def finish(answer: Response) -> Response:
        retry_after(answer)
        _security(answer, https=is_https(request, made.settings))
        _cors(answer, made)
        answer.headers["X-Request-Id"] = g.get("request_id", "")
        _log(answer, made)
        return answer

    app.before_request(begin)
    app.after_request(finish)


def _security(answer: Response, *, https: bool) -> None:
    headers = answer.headers
    page = answer.mimetype == "text/html" or "/static/" in request.path
    headers.setdefault("Content-Security-Policy", PAGE_CSP if page else DATA_CSP)
    for name, value in SECURITY_HEADERS.items():
        headers.setdefault(name, value)
    if https:
        headers.setdefault("Strict-Transport-Security", "max-age=31536000; includeSubDomains")


def _cors(answer: Response, made: Services) -> None:
    origin = request.headers.get("Origin")
    if not made.settings.allowed_origins:
        return
    answer.headers.add("Vary", "Origin")
    if origin is None or origin not in made.settings.allowed_origins:
        return
    answer.headers["Access-Control-Allow-Origin"] = origin
    answer.headers["Access-Control-Allow-Credentials"] = "true"
    answer.headers["Access-Control-Expose-Headers"] = _EXPOSED
    answer.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    if request.method == "OPTIONS":
        answer.headers["Access-Control-Allow-Methods"] = "GET, POST, PATCH, DELETE"
        answer.headers["Access-Control-Allow-Headers"] = _ALLOWED
        answer.headers["Access-Control-Max-Age"] = "600"


def _log(answer: Response, made: Services) -> None:
    if request.path in _QUIET and answer.status_code < 500:  # noqa: PLR2004 - probes speak when they fail
        return
    principal = g.get("principal")
    # No query string: it may hold what people search for. No token of a checkout page.
    log.info(
        "http.request",
        method=request.method,
        path=_SECRET_PATH.sub("/pay/***", request.path)[:300],
        status=answer.status_code,
        ms=round((clock.monotonic() - g.get("began", clock.monotonic())) * 1000, 1),
        address=client_address(request, made.settings),
        actor=principal.name if principal else None,
    )
