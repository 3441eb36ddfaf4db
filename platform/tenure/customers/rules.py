"""What makes a customer valid. Pure: every problem of the input is named at once."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Final
from zoneinfo import available_timezones

from tenure.errors import FieldError

_EMAIL: Final = re.compile(r"[^@\s\x00-\x1f<>\"(),;:\\\[\]]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*")
_LONGEST_EMAIL: Final = 254
_CHAT: Final = re.compile(r"-?\d{1,20}|@[A-Za-z][A-Za-z0-9_]{3,31}")
_LOCALE: Final = re.compile(r"[a-z]{2,3}([-_][A-Za-z0-9]{2,8})*")
_LONGEST_EXTERNAL_ID: Final = 200


@dataclass(frozen=True, slots=True)
class Details:
    """Everything of a customer but its id."""

    external_id: str
    email: str | None = None
    telegram_chat_id: str | None = None
    locale: str = "en"
    timezone: str = "UTC"


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def is_email(text: str) -> bool:
    """Whether it looks like one address; only a mail that arrives proves more."""
    return len(text) <= _LONGEST_EMAIL and _EMAIL.fullmatch(text) is not None


def problems(details: Details) -> list[FieldError]:
    """Everything that is wrong, by the names of the API's fields."""
    external_id = details.external_id
    checks = [
        (
            0 < len(external_id) <= _LONGEST_EXTERNAL_ID
            and external_id.isprintable()
            and external_id.strip() == external_id,
            "external_id",
            "length",
            f"1 to {_LONGEST_EXTERNAL_ID} printable characters without spaces around them",
        ),
        (details.email is None or is_email(details.email), "email", "email", "not an e-mail address"),
        (
            details.telegram_chat_id is None or _CHAT.fullmatch(details.telegram_chat_id) is not None,
            "telegram_chat_id",
            "pattern",
            "a number, or a channel's @name",
        ),
        (
            _LOCALE.fullmatch(details.locale) is not None,
            "locale",
            "locale",
            "a language tag such as en or pt-BR",
        ),
        (
            details.timezone in _zones(),
            "timezone",
            "timezone",
            "a name of the IANA time zone database, such as Europe/Berlin",
        ),
    ]
    return [FieldError(field, kind, message) for good, field, kind, message in checks if not good]
