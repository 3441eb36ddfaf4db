"""Arithmetic of periods: from an anchor, in the customer's zone, clamped to the month's end. Pure."""

from __future__ import annotations

import calendar
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final
from zoneinfo import ZoneInfo

_MONTHS_A_YEAR: Final = 12


class Unit(StrEnum):
    """What an interval is counted in."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    YEAR = "year"


@dataclass(frozen=True, slots=True)
class Interval:
    """The length of a period: `count` units of the customer's calendar."""

    unit: Unit
    count: int


def moment_after(anchor: datetime, interval: Interval, times: int, zone: ZoneInfo) -> datetime:
    """The anchor plus so many intervals, in UTC, at the anchor's time of day in the zone.

    Always counted from the anchor, so that Jan 31 is followed by Feb 28 and then by Mar 31. A time of day
    that a daylight saving change skips is moved forward by the change; one that it repeats means the first.
    """
    if times == 0:
        return anchor.astimezone(UTC)
    local = anchor.astimezone(zone).replace(tzinfo=None, fold=0)
    moved = _moved(local, interval.unit, interval.count * times)
    return moved.replace(tzinfo=zone).astimezone(UTC)


def _moved(local: datetime, unit: Unit, count: int) -> datetime:
    match unit:
        case Unit.DAY:
            return local + timedelta(days=count)
        case Unit.WEEK:
            return local + timedelta(weeks=count)
        case Unit.MONTH:
            return _months_later(local, count)
        case Unit.YEAR:
            return _months_later(local, count * _MONTHS_A_YEAR)


def _months_later(local: datetime, months: int) -> datetime:
    years, month0 = divmod(local.month - 1 + months, _MONTHS_A_YEAR)
    year, month = local.year + years, month0 + 1
    return local.replace(year=year, month=month, day=min(local.day, calendar.monthrange(year, month)[1]))
