"""What the server said no to, as exceptions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from tenure.errors import FieldError, TenureError
from tenure.kit.http import ErrorAnswer

_EXIT_CODES: Final = {401: 2, 403: 2, 404: 2, 409: 4, 422: 2, 429: 3, 503: 3}


class Problem(TenureError):
    """The server refused."""

    code: ClassVar[str] = "problem"

    def __init__(
        self,
        status: int,
        document: Mapping[str, Any],
        *,
        retry_after_s: float | None = None,
    ) -> None:
        """`document` is the problem JSON of the answer, or whatever of it there is."""
        self.answered_status = status
        self.errors = tuple(_field_error(one) for one in document.get("errors") or ())
        self.request_id: str | None = document.get("request_id")
        self.document = dict(document)
        self.retry_after_s = retry_after_s
        self.exit_code = _EXIT_CODES.get(status, 1)  # type: ignore[misc]
        detail = str(document.get("detail") or f"the server answered {status}")
        named = "".join(f"; {error.field}: {error.message}" for error in self.errors)
        super().__init__(detail + named, code=str(document.get("code") or "error"))


class CommandRefused(TenureError):
    """The server answered a live command with an error."""

    code: ClassVar[str] = "refused"

    def __init__(self, code: str, message: str, retry_after_s: float | None) -> None:
        """`code` is one of the error codes of the live protocol."""
        self.retry_after_s = retry_after_s
        super().__init__(message, code=code)


class LiveEnded(TenureError):
    """The live connection ended and coming back by itself would not help."""

    code: ClassVar[str] = "live_ended"

    def __init__(self, close_code: int | None, reason: str) -> None:
        """`close_code` is the WebSocket's, None when there was none."""
        self.close_code = close_code
        self.reason = reason
        super().__init__(f"the live connection ended: {close_code or 'refused'} {reason}".rstrip())


def problem_of(answer: ErrorAnswer) -> Problem:
    """The problem document of an answer; what is not one becomes one with the status only."""
    try:
        document = json.loads(answer.body)
    except ValueError:
        document = {}
    if not isinstance(document, dict):
        document = {}
    return Problem(answer.answered_status, document, retry_after_s=answer.retry_after_s)


def _field_error(given: Mapping[str, Any]) -> FieldError:
    return FieldError(str(given.get("field")), str(given.get("code")), str(given.get("message")))
