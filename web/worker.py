"""The web role's worker: gunicorn's own for gevent, whose refusals are problems like all of ours.

A request that cannot be parsed (a header over 8 KiB, an unreadable request line) never reaches the
application; gunicorn answers it with a page of HTML. Nothing that needs a patched standard library may be
imported at the top: gunicorn's master reads this file before the worker patches it.
"""

from __future__ import annotations

import socket
import ssl
from http import HTTPStatus
from typing import Any, Final

from gunicorn import util
from gunicorn.http import errors
from gunicorn.workers.ggevent import GeventWorker

from tenure.kit.ids import new_id
from tenure.kit.logging import get_logger

log = get_logger("web.access")
# The first that fits; what fits none is a fault of ours.
_REFUSED: Final[tuple[tuple[type[Exception], HTTPStatus, str, str], ...]] = (
    (errors.LimitRequestLine, HTTPStatus.REQUEST_URI_TOO_LONG, "uri_too_long", "the address is too long"),
    (
        errors.LimitRequestHeaders,
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
        "headers_too_large",
        "a header may have 8 KiB, and a request 100 of them",
    ),
    (
        errors.ExpectationFailed,
        HTTPStatus.EXPECTATION_FAILED,
        "expectation_failed",
        "this expectation cannot be met",
    ),
    (errors.ParseException, HTTPStatus.BAD_REQUEST, "malformed_request", "this is no HTTP request"),
)
# Parts of gunicorn's own error tree that tell of us and not of the client.
_OURS: Final = (
    errors.ConfigurationProblem,
    errors.InvalidResponseHeader,
    errors.InvalidResponseHeaderName,
)


class Worker(GeventWorker):  # type: ignore[misc]
    """Answers what cannot be parsed with problem JSON and the headers of every other answer."""

    def handle_error(self, req: Any, client: socket.socket, addr: Any, exc: BaseException) -> None:
        """The client has its answer, and the log a line with the same request id."""
        if isinstance(exc, ssl.SSLError):  # no HTTP was spoken yet
            super().handle_error(req, client, addr, exc)
            return
        request_id = new_id("req")
        address = addr[0] if addr else None
        status, code, detail = _verdict(exc)
        if status is HTTPStatus.INTERNAL_SERVER_ERROR:
            log.error("http.failed", request_id=request_id, error_type=type(exc).__name__, exc_info=exc)
        else:
            log.warning(
                "http.unreadable", request_id=request_id, address=address, code=code, status=int(status)
            )
        try:
            util.write_nonblock(client, _answer(status, code, detail, request_id))
        except OSError:
            log.debug("http.refusal_not_sent", request_id=request_id)


def _verdict(error: BaseException) -> tuple[HTTPStatus, str, str]:
    if not isinstance(error, _OURS):
        for kind, status, code, detail in _REFUSED:
            if isinstance(error, kind):
                return status, code, detail
    return HTTPStatus.INTERNAL_SERVER_ERROR, "internal", "this is a fault of the server; it has been logged"


def _answer(status: HTTPStatus, code: str, detail: str, request_id: str) -> bytes:
    from web.envelope import DATA_CSP, SECURITY_HEADERS  # after the patching
    from web.problem import document

    body = document(int(status), code, detail, request_id=request_id).encode()
    headers = {
        "Connection": "close",
        "Content-Type": "application/problem+json",
        "Content-Length": str(len(body)),
        "Content-Security-Policy": DATA_CSP,
        **SECURITY_HEADERS,
        "X-Request-Id": request_id,
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {int(status)} {status.phrase}\r\n{head}\r\n".encode() + body
