"""Every error leaves as RFC 9457 problem JSON: `code`, `errors[]`, `request_id`, and nothing internal."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, Final

from flask import Flask, Response, g
from flask_limiter import RateLimitExceeded
from pydantic import ValidationError
from redis import RedisError
from sqlalchemy.exc import DataError
from werkzeug.exceptions import HTTPException, MethodNotAllowed, RequestEntityTooLarge

from tenure.errors import FieldError, Invalid, TenureError, TooManyRequests, Transient, Unavailable
from tenure.kit.logging import get_logger, masked

log = get_logger(__name__)

_CODES: Final = {
    400: "bad_request", 401: "unauthenticated", 403: "forbidden", 404: "not_found", 405: "method_not_allowed",
    406: "not_acceptable", 413: "too_large", 415: "unsupported_media_type", 422: "invalid", 429: "throttled",
    431: "headers_too_large", 500: "internal", 502: "upstream", 503: "unavailable",
}  # fmt: skip
_RETRY_S: Final = 2


class BadRequest(TenureError):
    """The request cannot be read."""

    code = "bad_request"
    status = 400


class UnsupportedMedia(TenureError):
    """Send the body as application/json."""

    code = "unsupported_media_type"
    status = 415


def problem(
    status: int,
    code: str,
    detail: str,
    *,
    errors: Iterable[FieldError] = (),
    extra: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """A problem answer."""
    body = document(status, code, detail, request_id=g.get("request_id"), errors=errors, extra=extra)
    answer = Response(body, status=status, content_type="application/problem+json")
    answer.headers.update(headers or {})
    return answer


def document(
    status: int,
    code: str,
    detail: str,
    *,
    request_id: str | None,
    errors: Iterable[FieldError] = (),
    extra: Mapping[str, Any] | None = None,
) -> str:
    """A problem as JSON."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": code,
        "detail": masked(detail),
        "errors": [error.as_dict() for error in errors],
        "request_id": request_id,
        **(extra or {}),
    }
    return json.dumps(body, default=str)


def field_errors(error: ValidationError, prefix: str = "") -> list[FieldError]:
    """Pydantic's complaints as ours: dotted field, stable code, a sentence."""
    return [
        FieldError(
            field=".".join([*([prefix] if prefix else []), *(str(part) for part in detail["loc"])]) or "body",
            code=_field_code(detail["type"]),
            message=detail["msg"].removeprefix("Value error, "),
        )
        for detail in error.errors(include_url=False, include_input=False, include_context=False)
    ]


def _field_code(kind: str) -> str:
    return {"extra_forbidden": "unknown_field", "missing": "missing"}.get(kind, kind)


def install(app: Flask) -> None:
    """Answer every error with a problem."""
    app.register_error_handler(TenureError, _tenure_error)
    app.register_error_handler(ValidationError, _validation_error)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(DataError, _data_error)
    app.register_error_handler(RedisError, _store_away)
    app.register_error_handler(Exception, _bug)


def _tenure_error(error: TenureError) -> Response:
    headers = {}
    if isinstance(error, TooManyRequests):
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_s)))
    elif isinstance(error, Transient):
        headers["Retry-After"] = str(_RETRY_S)
    if error.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = 'Bearer realm="tenure"'
    if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        log.warning("http.unavailable", code=error.instance_code, error=error)
    errors = error.errors if isinstance(error, Invalid) else ()
    return problem(
        error.status, error.instance_code, error.message, errors=errors, extra=error.extra, headers=headers
    )


def _validation_error(error: ValidationError) -> Response:
    return problem(422, "invalid", "some fields are not valid", errors=field_errors(error))


def _data_error(_error: DataError) -> Response:
    # A value that PostgreSQL cannot hold (a year 300000, a number out of range) and no model refused.
    log.warning("http.value_refused_by_database")
    return problem(422, "invalid", "a value is out of range")


def _store_away(error: RedisError) -> Response:
    # Broker or live store: whoever asks for what only they know is answered honestly, by a later try.
    return _tenure_error(Unavailable(f"a store does not answer ({type(error).__name__})"))


def _http_error(error: HTTPException) -> Response:
    status = error.code or 500
    headers: dict[str, str] = {}
    detail = error.description or HTTPStatus(status).phrase
    if isinstance(error, MethodNotAllowed) and error.valid_methods:
        headers["Allow"] = ", ".join(sorted(set(error.valid_methods)))
    if isinstance(error, RequestEntityTooLarge):
        detail = "the body is larger than 1 MB"
    if isinstance(error, RateLimitExceeded):
        detail = "too many requests; slow down"
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        redirect = error.get_response()
        return Response(status=status, headers={"Location": redirect.headers.get("Location", "/")})
    return problem(status, _CODES.get(status, "error"), detail, headers=headers)


def _bug(error: Exception) -> Response:
    log.error("http.failed", error_type=type(error).__name__, exc_info=error)
    return problem(500, "internal", "this is a fault of the server; it has been logged")
