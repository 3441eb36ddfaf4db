"""The one tree of errors: what went wrong, what a caller may do, and how it is shown.

Each class's docstring is its default message. `code` is stable and machine-readable, `status` is the HTTP
answer, `exit_code` the command line's (0 done, 1 found wanting, 2 usage, 3 unavailable, 4 conflict).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True)
class FieldError:
    """One problem with one field of the input."""

    field: str
    code: str
    message: str

    def as_dict(self) -> dict[str, str]:
        return {"field": self.field, "code": self.code, "message": self.message}


class TenureError(Exception):
    """Something went wrong."""

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str | None = None, *, code: str | None = None, **extra: Any) -> None:
        """`extra` is shown to the caller beside the message: never put a secret in it."""
        self.message = message or (type(self).__doc__ or "").strip().splitlines()[0]
        self.instance_code = code or self.code
        self.extra: Mapping[str, Any] = extra
        super().__init__(self.message)


class Invalid(TenureError):
    """The input is not valid."""

    code = "invalid"
    status = 422
    exit_code = 2

    def __init__(
        self, message: str | None = None, *, errors: Sequence[FieldError] = (), code: str | None = None
    ) -> None:
        """`errors` names every field that is wrong, so that all can be mended in one go."""
        self.errors = tuple(errors)
        super().__init__(message, code=code)

    @classmethod
    def field(cls, field: str, code: str, message: str) -> Invalid:
        return cls(message, errors=[FieldError(field, code, message)])


class BadSettings(Invalid):
    """The settings are not valid."""

    code = "bad_settings"
    status = 500


class Unauthenticated(TenureError):
    """Valid credentials are required."""

    code = "unauthenticated"
    status = 401


class Forbidden(TenureError):
    """Your role does not allow this."""

    code = "forbidden"
    status = 403


class NotFound(TenureError):
    """There is no such thing."""

    code = "not_found"
    status = 404
    exit_code = 2


class Conflict(TenureError):
    """This contradicts the current state."""

    code = "conflict"
    status = 409
    exit_code = 4


class IllegalTransition(Conflict):
    """The current state does not allow this."""

    code = "illegal_transition"

    def __init__(self, current: str, wanted: str) -> None:
        """`current` is the state that stood when the change was tried."""
        super().__init__(f"cannot {wanted} while {current}", current=current)


class TooManyRequests(TenureError):
    """Too many requests; slow down."""

    code = "throttled"
    status = 429

    def __init__(self, retry_after_s: float, message: str | None = None) -> None:
        """`retry_after_s` is when the next try can succeed."""
        self.retry_after_s = retry_after_s
        super().__init__(message)


class Transient(TenureError):
    """It failed now and may succeed later."""

    code = "unavailable"
    status = 503
    exit_code = 3


class Unavailable(Transient):
    """A needed service cannot be reached."""


class Permanent(TenureError):
    """It failed and will fail again."""

    code = "permanent"
    status = 502


class IterationOver(TenureError):
    """This iteration has been ended by somebody else; its writes are refused."""

    code = "iteration_over"
    status = 409


class BrokenRule(TenureError):
    """The code broke one of its own rules."""

    code = "broken_rule"
