"""Versions of what can be changed: `ETag`, `If-Match` (412) and `If-None-Match` (304).

Whoever changes what somebody else changed meanwhile is told instead of overwriting it. A version is made of
what people change, so neither a sign-in nor a tick of the clock makes it another. While it is compared the
rows are locked, by the same locks in the same order as the change itself takes them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from flask import Request, Response
from sqlalchemy import text

from tenure.errors import TenureError

MATCH: Final = "If-Match"
_TAG_CHARS: Final = 32


class Stale(TenureError):
    """It has been changed since it was read: read it again."""

    code = "precondition_failed"
    status = 412


@dataclass(frozen=True, slots=True)
class Versioned:
    """One kind of thing that has versions.

    `read` shows it for a call and the name in the path; `locks` are the statements of its changes, bound to
    the same name; `fields` are those that make a version.
    """

    read: Callable[..., Mapping[str, Any]]
    locks: tuple[str, ...]
    fields: tuple[str, ...]

    def tag(self, shown: Mapping[str, Any]) -> str:
        """The strong entity tag of the thing as it is shown."""
        counted = [shown.get(name) for name in self.fields]
        told = json.dumps(counted, sort_keys=True, separators=(",", ":"), default=str)
        return hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()[:_TAG_CHARS]

    def mark(self, answer: Response, shown: object, request: Request) -> Response:
        """The answer with the version of what it shows: without a body where the client has that one."""
        if not isinstance(shown, Mapping) or not shown.keys() >= set(self.fields):
            return answer
        tag = self.tag(shown)
        if request.method == "GET" and request.if_none_match.contains_weak(tag):
            answer = Response(status=304)
        answer.set_etag(tag)
        return answer


def require_match(request: Request, versioned: Versioned | None, call: Any, path: Mapping[str, str]) -> None:
    """The change may be made: no `If-Match` came, or it names the version that stands, which is locked now.

    `call` is the request's, within its transaction. Raises Stale, also where a thing has no versions: a
    condition that nobody looks at would be a lie.
    """
    if MATCH not in request.headers:
        return
    if versioned is None:
        raise Stale("what is changed here has no versions: leave If-Match out")
    for lock in versioned.locks:
        call.session.execute(text(lock), dict(path))
    standing = versioned.tag(versioned.read(call, *path.values()))
    if not request.if_match.contains(standing):
        raise Stale(current=f'"{standing}"')
