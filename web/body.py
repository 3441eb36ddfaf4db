"""Reading a JSON body strictly: what is ambiguous is refused instead of guessed.

Duplicate keys, NaN and infinities, numbers too large for a float, and text that PostgreSQL cannot hold are
errors. Models refuse unknown fields and do not turn one type into another.
"""

from __future__ import annotations

import json
import math
from typing import Any, Final, NoReturn, TypeVar

from flask import Request
from gunicorn.http.errors import ParseException
from pydantic import BaseModel, ConfigDict, ValidationError
from werkzeug.exceptions import RequestEntityTooLarge

from tenure.errors import FieldError, Invalid
from web.deadline import body_deadline
from web.problem import BadRequest, UnsupportedMedia, field_errors

LARGEST: Final = 1_000_000
_DEEPEST: Final = 32
M = TypeVar("M", bound=BaseModel)


class Body(BaseModel):
    """The base of every request body and query: unknown fields are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Empty(Body):
    """A body without fields."""


class RawBody(Body):
    """A body that the handler reads itself, with `raw`: webhooks are verified before they are parsed."""


def raw(request: Request, *, limit: int) -> bytes:
    """The bytes of the body, whole.

    Raises RequestEntityTooLarge over the limit (before they are read, where a length is told), and BadRequest
    for chunks that are none and for a body that broke off.
    """
    told = request.content_length
    if (told or 0) > limit:
        raise RequestEntityTooLarge
    # A body without a length is cut at the maximum without a word: one byte more shows that there was more.
    request.max_content_length = limit + 1
    try:
        given = request.get_data(cache=True)
    except ParseException:
        raise BadRequest("the body's chunks cannot be read", code="malformed_body") from None
    if len(given) > limit:
        raise RequestEntityTooLarge
    if len(given) < (told or 0):
        raise BadRequest("the body broke off", code="malformed_body")
    return given


def read_body(request: Request, model: type[M]) -> tuple[M, Any]:
    """The body as its model, and as plain JSON.

    Raises UnsupportedMedia, BadRequest for what is not JSON, TooSlow, and Invalid with every wrong field. No
    body at all counts as `{}` where no field is required.
    """
    with body_deadline():
        given = raw(request, limit=LARGEST)
    if not given and not _has_required(model):
        return model(), {}
    if request.mimetype != "application/json":
        raise UnsupportedMedia
    plain = parse(given)
    if not isinstance(plain, dict):
        raise Invalid.field("body", "object", "the body must be a JSON object")
    refuse_unstorable(plain)
    try:
        return model.model_validate_json(given, strict=True), plain
    except ValidationError as error:
        raise Invalid("some fields are not valid", errors=field_errors(error)) from None


def parse(given: bytes) -> Any:
    """Strict JSON. Raises BadRequest."""
    try:
        value = json.loads(
            given.decode("utf-8"),
            object_pairs_hook=_no_duplicates,
            parse_constant=_no_constants,
            parse_float=_finite,
        )
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        reason = error.msg if isinstance(error, json.JSONDecodeError) else "unreadable"
        raise BadRequest(f"the body is not valid JSON ({reason})", code="malformed_json") from None
    if _depth(value) > _DEEPEST:
        raise BadRequest("the body is nested too deeply", code="malformed_json")
    return value


def refuse_unstorable(value: Any, field: str = "") -> None:
    """Raise Invalid for text that PostgreSQL cannot hold: NUL and lone surrogates."""
    if isinstance(value, str):
        if "\x00" in value or any("\ud800" <= letter <= "\udfff" for letter in value):
            raise Invalid("some fields are not valid", errors=[
                FieldError(field or "body", "text", "holds a character that cannot be stored")
            ])  # fmt: skip
    elif isinstance(value, dict):
        for key, inner in value.items():
            refuse_unstorable(key, field)
            refuse_unstorable(inner, f"{field}.{key}".lstrip("."))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            refuse_unstorable(inner, f"{field}.{index}".lstrip("."))


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise BadRequest("the body names a key twice", code="duplicate_key")
    return found


def _no_constants(text: str) -> NoReturn:
    raise BadRequest(f"{text} is not a JSON number", code="non_finite_number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise BadRequest("a number is too large", code="non_finite_number")
    return value


def _depth(value: Any) -> int:
    deepest, layer = 0, [value]
    while layer:
        deepest += 1
        layer = [
            inner
            for outer in layer
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
    return deepest


def _has_required(model: type[BaseModel]) -> bool:
    return any(field.is_required() for field in model.model_fields.values())
