"""The console: static files built from `web/console`; every other page address is the console's own."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from flask import Flask, Response, request, send_from_directory
from werkzeug.exceptions import NotFound
from werkzeug.security import safe_join

_CONSOLE: Final = Path(__file__).parent / "static" / "console"
_NOT_BUILT: Final = """<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><title>Tenure</title></head><body>
<h1>Tenure runs; its console has not been built yet</h1>
<p>Build it with <code>python3 dev.py console</code>, or start with <code>python3 dev.py up</code>, which
builds it first. Then reload this page.</p>
<p>The API works already: see <a href="/api/v1/docs">its documentation</a>.</p></body></html>"""
# Addresses that are never the console's: an unknown one there is an error, not a page.
_NOT_PAGES: Final = ("api/", "hooks/", "flower", "static/", "assets/", "ws", "livez", "readyz", "metrics")
_YEAR_S: Final = 31_536_000


def install(app: Flask) -> None:
    """Serve the console at `/` and at every address that is nobody else's.

    No catch-all rule does this: one would turn every 405 of the API into a 404.
    """

    def serve() -> Response | None:
        unknown = isinstance(request.routing_exception, NotFound)
        if request.method not in {"GET", "HEAD"} or not unknown:
            return None
        return _console(request.path.lstrip("/"))

    app.before_request(serve)


def _console(path: str) -> Response | None:
    if path and _is_file(path):
        answer = send_from_directory(_CONSOLE, path)
        # The build puts a hash of the content into these names.
        hashed = path.startswith("assets/")
        answer.headers["Cache-Control"] = f"public, max-age={_YEAR_S}, immutable" if hashed else "no-cache"
        return answer
    if path.startswith(_NOT_PAGES) or "." in path.rsplit("/", 1)[-1]:
        return None
    if not _is_file("index.html"):
        return Response(_NOT_BUILT, content_type="text/html; charset=utf-8")
    answer = send_from_directory(_CONSOLE, "index.html")
    answer.headers["Cache-Control"] = "no-cache"
    return answer


def _is_file(path: str) -> bool:
    found = safe_join(str(_CONSOLE), path)
    return found is not None and Path(found).is_file()
