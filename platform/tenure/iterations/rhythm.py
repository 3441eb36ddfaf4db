"""When a job is due: every so many seconds, or by a cron expression in a time zone. Pure.

Daylight saving: a set local time that does not exist is due when the clock has jumped over it; one that comes
twice is due once. With `*` or a step in the minutes or hours it goes on through both hours.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

from tenure.errors import Invalid

# Missed times of a cron expression are counted within a transaction that holds all schedules and may not be
# idle for 10 s: however long everything was away, one part takes a fraction of a second.
MOST_MISSED: Final = 20_000
_LONGEST_CRON: Final = 100
# A shorter period would keep every beat busy with nothing else; a longer one is a cron expression.
SHORTEST_S: Final = 0.1
LONGEST_S: Final = 86_400.0 * 31


@dataclass(frozen=True, slots=True)
class Rhythm:
    """`every_s` in seconds or `cron`, never both; neither means that the job runs on request only."""

    every_s: float | None
    cron: str | None
    timezone: str

    def after(self, moment: datetime) -> datetime:
        """The first due time after the moment (UTC)."""
        if self.cron is not None:
            return next(self._times(self.cron, moment))
        return moment + timedelta(seconds=self.every_s or 0.0)

    def upcoming(self, moment: datetime, count: int) -> list[datetime]:
        """The next due times after the moment (UTC), as they would follow if nothing is changed."""
        times: list[datetime] = []
        for _ in range(count):
            moment = self.after(moment)
            times.append(moment)
        return times

    def missed(
        self, due: datetime, now: datetime, *, most: int = MOST_MISSED
    ) -> tuple[datetime, int, datetime]:
        """The latest due time up to now, how many there were since `due`, and the next one.

        Those of a cron expression are counted up to `most`: then the next one is still in the past, and the
        rest is counted from there.
        """
        if self.cron is None:
            every_s = self.every_s or LONGEST_S  # one on request only has no due times to miss
            steps = max(0, math.floor((now - due).total_seconds() / every_s))
            latest = due + timedelta(seconds=steps * every_s)
            return latest, steps + 1, latest + timedelta(seconds=every_s)
        times = self._times(self.cron, due)
        latest, count, following = due, 1, next(times)
        while following <= now and count < most:
            latest, count, following = following, count + 1, next(times)
        return latest, count, following

    def _times(self, cron: str, moment: datetime) -> Iterator[datetime]:
        for due in CronSim(cron, moment.astimezone(ZoneInfo(self.timezone))):
            yield due.astimezone(UTC)

    def in_words(self) -> str:
        """For people: `every 2 min`, `at 03:00 every day, Europe/Berlin`, `on request`."""
        if self.cron is not None:
            said: str = CronSim(self.cron, datetime(2026, 1, 1, tzinfo=UTC)).explain()
            return f"{said[:1].lower()}{said[1:]}, {self.timezone}"
        return "on request" if self.every_s is None else f"every {_span(self.every_s)}"


_UNITS: Final = ((86_400, "d"), (3600, "h"), (60, "min"))


def _span(seconds: float) -> str:
    parts = []
    for size, unit in _UNITS:
        whole, seconds = divmod(seconds, size)
        if whole:
            parts.append(f"{whole:g} {unit}")
    seconds = round(seconds, 3)
    if seconds or not parts:
        parts.append(f"{seconds:g} s")
    return " ".join(parts)


def check_timezone(timezone: str) -> None:
    """Raise Invalid naming the field when there is no such IANA time zone."""
    if timezone not in available_timezones():
        raise Invalid.field("timezone", "unknown", f"{timezone!r} is not an IANA time zone")


def check_cron(expression: str, timezone: str) -> None:
    """Raise Invalid naming the field when the expression or the zone cannot be used."""
    check_timezone(timezone)
    if len(expression) > _LONGEST_CRON:
        raise Invalid.field("cron", "too_long", f"a cron expression has at most {_LONGEST_CRON} characters")
    try:
        next(CronSim(expression, datetime(2026, 1, 1, tzinfo=ZoneInfo(timezone))))
    except CronSimError as error:
        raise Invalid.field("cron", "cron", f"{expression!r} is no cron expression: {error}") from None
    except StopIteration:
        raise Invalid.field("cron", "never_due", f"{expression!r} never comes due") from None


def check_every(every_s: float) -> None:
    """Raise Invalid naming the field when the period is out of bounds."""
    if not SHORTEST_S <= every_s <= LONGEST_S:
        raise Invalid.field("every_s", "range", f"between {SHORTEST_S:g} s and {LONGEST_S / 86_400:g} days")
