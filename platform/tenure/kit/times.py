"""Times in text: RFC 3339 moments and spans such as `15m` or `3d`."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from tenure.errors import Invalid

_SPAN: Final = re.compile(r"(\d{1,9})(s|m|h|d|w)")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def parse_moment(text: str, *, field: str) -> datetime:
    """An RFC 3339 moment with its offset, in UTC. Raises Invalid naming the field."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise Invalid.field(field, "time", f"{text!r} is not an RFC 3339 time") from None
    if moment.tzinfo is None:
        raise Invalid.field(field, "time", f"{text!r} has no offset: write it as 2026-01-31T12:00:00Z")
    return moment.astimezone(UTC)


def parse_span(text: str, *, field: str) -> timedelta:
    """A span such as `90s`, `15m`, `3d`. Raises Invalid naming the field."""
    match = _SPAN.fullmatch(text.strip())
    if match is None:
        raise Invalid.field(field, "span", f"{text!r} is not a span: write 90s, 15m, 12h, 3d or 2w")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def rfc3339(moment: datetime | None) -> str | None:
    """The moment as the contract writes it: UTC, `Z`, microseconds only where there are any."""
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
