"""What makes a plan valid. Pure: every problem of the input is named at once."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from tenure.errors import FieldError

CHANNELS: Final = ("email", "telegram", "webhook")
# The longest period: ten years, whatever it is counted in.
_MOST: Final = {"day": 3650, "week": 520, "month": 120, "year": 10}
_CODE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_STAGE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,31}")
_CURRENCY: Final = re.compile(r"[A-Z]{3}")
_OFFSET_HOURS: Final = 720
_LONGEST_NAME: Final = 200
_MOST_STAGES: Final = 20
_MOST_TRIAL_DAYS: Final = 3650
_MOST_GRACE_HOURS: Final = 8760
_MOST_MINOR: Final = 10**15


@dataclass(frozen=True, slots=True)
class Stage:
    """One reminder: when, relative to the end of the period, and on which channels."""

    stage: str
    offset_hours: int
    channels: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        return {"stage": self.stage, "offset_hours": self.offset_hours, "channels": list(self.channels)}


@dataclass(frozen=True, slots=True)
class Terms:
    """Everything of a plan but its code."""

    name: str
    price_minor: int
    currency: str
    interval_unit: str
    interval_count: int
    trial_days: int = 0
    grace_hours: int = 0
    reminders: tuple[Stage, ...] = ()
    auto_renew: bool = False


def problems(code: str, terms: Terms) -> list[FieldError]:
    """Everything that is wrong, by the names of the API's fields."""
    most = _MOST.get(terms.interval_unit)
    checks = [
        (
            _CODE.fullmatch(code) is not None,
            "code",
            "pattern",
            "1 to 64 letters, digits, dots, dashes, underscores",
        ),
        (0 < len(terms.name.strip()) <= _LONGEST_NAME, "name", "length", f"1 to {_LONGEST_NAME} characters"),
        (0 < terms.price_minor <= _MOST_MINOR, "price.amount_minor", "range", f"1 to {_MOST_MINOR}"),
        (
            _CURRENCY.fullmatch(terms.currency) is not None,
            "price.currency",
            "currency",
            "an ISO 4217 code such as USD",
        ),
        (most is not None, "interval.unit", "choice", "one of day, week, month, year"),
        (
            0 < terms.interval_count <= (most or _MOST["day"]),
            "interval.count",
            "range",
            f"1 to {most or _MOST['day']}",
        ),
        (0 <= terms.trial_days <= _MOST_TRIAL_DAYS, "trial_days", "range", f"0 to {_MOST_TRIAL_DAYS}"),
        (0 <= terms.grace_hours <= _MOST_GRACE_HOURS, "grace_hours", "range", f"0 to {_MOST_GRACE_HOURS}"),
        (len(terms.reminders) <= _MOST_STAGES, "reminders", "length", f"at most {_MOST_STAGES} stages"),
    ]
    found = [FieldError(field, kind, message) for good, field, kind, message in checks if not good]
    return found + _stage_problems(terms.reminders)


def _stage_problems(stages: tuple[Stage, ...]) -> list[FieldError]:
    found = []
    names: set[str] = set()
    for number, stage in enumerate(stages):
        where = f"reminders.{number}"
        if _STAGE.fullmatch(stage.stage) is None:
            found.append(
                FieldError(f"{where}.stage", "pattern", "1 to 32 letters, digits, dots, dashes, plus signs")
            )
        if stage.stage in names:
            found.append(FieldError(f"{where}.stage", "duplicate", f"{stage.stage!r} is there twice"))
        names.add(stage.stage)
        if abs(stage.offset_hours) > _OFFSET_HOURS:
            found.append(FieldError(f"{where}.offset_hours", "range", f"-{_OFFSET_HOURS} to {_OFFSET_HOURS}"))
        if not stage.channels or len(set(stage.channels)) != len(stage.channels):
            found.append(FieldError(f"{where}.channels", "length", "at least one, each once"))
        found += [
            FieldError(f"{where}.channels", "choice", f"{channel!r} is none of {', '.join(CHANNELS)}")
            for channel in stage.channels
            if channel not in CHANNELS
        ]
    return found
