"""The sandbox's domain time: ahead of machine time by an offset that only grows, until it is reset."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from tenure.audit.record import Actor, record
from tenure.errors import Invalid
from tenure.kit.times import rfc3339

# Twenty years: further ahead lies nothing that a sandbox could show.
_MOST: Final = timedelta(days=7305)

_SHOW: Final = text(
    "SELECT now() + ahead AS now, extract(epoch FROM ahead)::float8 AS ahead_s FROM domain_clock"
)
_LOCK: Final = text("SELECT extract(epoch FROM ahead)::float8 FROM domain_clock FOR UPDATE")
_SET: Final = text("UPDATE domain_clock SET ahead = :ahead_s * interval '1 second'")


def show(session: Session) -> dict[str, Any]:
    """Domain time and how many seconds it is ahead."""
    row = session.execute(_SHOW).one()
    return {"now": rfc3339(row.now), "offset_s": _number(row.ahead_s)}


def advance(session: Session, by: timedelta, *, actor: Actor) -> dict[str, Any]:
    """Domain time is later by so much. Time never runs back: periods and notices were made in it."""
    before = float(session.execute(_LOCK).scalar_one())
    after = before + by.total_seconds()
    if by <= timedelta(0):
        raise Invalid.field("by", "range", "domain time only goes forward")
    if after > _MOST.total_seconds():
        raise Invalid.field("by", "range", f"at most {_MOST.days} days ahead in all")
    return _set(session, before, after, "clock.advance", actor)


def reset(session: Session, *, actor: Actor) -> dict[str, Any]:
    """Domain time is machine time again."""
    return _set(session, float(session.execute(_LOCK).scalar_one()), 0.0, "clock.reset", actor)


def _set(session: Session, before: float, after: float, action: str, actor: Actor) -> dict[str, Any]:
    session.execute(_SET, {"ahead_s": after})
    record(
        session,
        actor=actor,
        action=action,
        object_="clock:domain",
        before={"offset_s": _number(before)},
        after={"offset_s": _number(after)},
    )
    return show(session)


def _number(seconds: float) -> int | float:
    return int(seconds) if seconds.is_integer() else seconds
