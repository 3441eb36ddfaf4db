"""`/flower/`: Flower of this stack behind our login. Read-only, with its own CSP.

Flower listens on loopback with a password that only this proxy knows. What a browser may send are GETs;
our credentials never reach Flower, and its cookies never reach the browser.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, unquote, urlsplit

from flask import Flask, Response, g, redirect, request
from werkzeug.exceptions import NotFound

from tenure.errors import Unavailable
from tenure.settings import STACK_FILE, Settings
from web.auth import principal_of_browser
from web.services import Services

_PREFIX: Final = "/flower/"
_PATIENCE_S: Final = 15
_CHUNK: Final = 65_536
_SAFE: Final = "/:@!$&'()*+,;="
# Figures have an address of their own; the rest would change workers or tell of the login.
_BLOCKED: Final = ("metrics", "healthcheck", "login", "logout")
_SENT: Final = ("Accept", "Accept-Language", "If-None-Match", "If-Modified-Since", "X-Requested-With")
_RETURNED: Final = ("Content-Type", "Content-Length", "ETag", "Last-Modified", "Cache-Control", "Vary")
_INLINE: Final = re.compile(rb"<script type=\"text/javascript\">(\s*var autorefresh = \d+;\s*)</script>")
_SCRIPT: Final = "static/js/flower.js"
# Its task table asks by POST. The session cookie serves reading only, so it is made to ask by GET.
_ASKS_BY_POST: Final = re.compile(rb"type: 'POST',(\s*url: url_prefix\(\) \+ '/tasks/datatable')")


@dataclass(frozen=True, slots=True)
class Upstream:
    """Where Flower listens, and its password."""

    host: str
    port: int
    user: str
    password: str

    @property
    def authorization(self) -> str:
        """For its basic authentication."""
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()


def install(app: Flask, made: Services) -> None:
    """Add the proxy."""
    app.add_url_rule("/flower", "flower_root", lambda: redirect(_PREFIX))
    app.add_url_rule(_PREFIX, "flower_index", lambda: proxy(made, ""))
    app.add_url_rule(f"{_PREFIX}<path:path>", "flower", lambda path: proxy(made, path))


def proxy(made: Services, path: str) -> Response:
    """Flower's answer to a GET. Raises Unauthenticated, NotFound, Unavailable."""
    g.principal = principal_of_browser(request, made)
    clean = posixpath.normpath(f"/{path}").lstrip("/")
    if clean.split("/", 1)[0] in _BLOCKED:
        raise NotFound
    upstream = _upstream(made.settings)
    query = request.query_string.decode("latin-1")
    # Escaped again: an escaped question mark must not become one on the way, and lead past what is blocked.
    target = quote(request.path, safe=_SAFE) + (f"?{query}" if query else "")
    connection = http.client.HTTPConnection(upstream.host, upstream.port, timeout=_PATIENCE_S)
    headers = {name: request.headers[name] for name in _SENT if name in request.headers}
    try:
        connection.request(
            request.method, target, headers={**headers, "Authorization": upstream.authorization}
        )
        answer = connection.getresponse()
    except (OSError, http.client.HTTPException) as error:
        connection.close()
        raise Unavailable("Flower does not answer") from error
    if answer.status == http.client.UNAUTHORIZED:
        connection.close()
        raise Unavailable("Flower refuses this stack's own password")
    return _answer(connection, answer, clean)


def _answer(connection: http.client.HTTPConnection, answer: http.client.HTTPResponse, path: str) -> Response:
    headers = {name: value for name in _RETURNED if (value := answer.headers.get(name)) is not None}
    location = answer.headers.get("Location")
    if location is not None and location.startswith("/flower"):
        headers["Location"] = location
    hashes: list[str] = []
    page = headers.get("Content-Type", "").startswith("text/html")
    body: Any
    if page or path == _SCRIPT:
        whole = answer.read()
        connection.close()
        body = _ASKS_BY_POST.sub(rb"type: 'GET',\1", whole) if path == _SCRIPT else whole
        hashes = [_hash(found) for found in _INLINE.findall(whole)] if page else []
        headers.pop("Content-Length", None)
        headers.pop("ETag", None)
    else:
        body = _stream(connection, answer)
    made = Response(body, status=answer.status, headers=headers)
    made.headers["Content-Security-Policy"] = _policy(hashes)
    made.headers["X-Frame-Options"] = "SAMEORIGIN"
    return made


def _stream(connection: http.client.HTTPConnection, answer: http.client.HTTPResponse) -> Iterator[bytes]:
    try:
        while chunk := answer.read(_CHUNK):
            yield chunk
    finally:
        connection.close()


def _policy(hashes: list[str]) -> str:
    scripts = " ".join(["'self'", *hashes])
    return (
        f"default-src 'none'; script-src {scripts}; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data:; font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'self'"
    )


def _hash(script: bytes) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script).digest()).decode()}'"


def _upstream(settings: Settings) -> Upstream:
    """The one that the settings name, else the stack's own: read anew, for a restart changes its port."""
    if settings.flower_url is not None:
        parts = urlsplit(settings.flower_url.get_secret_value())
        return Upstream(
            parts.hostname or "",
            parts.port or http.client.HTTP_PORT,
            unquote(parts.username or ""),
            unquote(parts.password or ""),
        )
    try:
        known = json.loads((settings.data_dir / STACK_FILE).read_text()).get("flower")
    except (FileNotFoundError, json.JSONDecodeError):
        known = None
    if known is None:
        raise Unavailable("no Flower runs in this stack")
    return Upstream("127.0.0.1", int(known["port"]), known["user"], known["password"])
