"""The rules of a subscription's life, as pure functions: a state and a moment in, the next state out.

Whatever is not allowed raises IllegalTransition with the state that stood. The verbs beside this file lock
the row, ask here, and save what comes back; the job `expiry` does the same for a thousand rows at a time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final
from zoneinfo import ZoneInfo

from tenure.errors import BrokenRule, IllegalTransition
from tenure.subscriptions.periods import Interval, Unit, moment_after


class Status(StrEnum):
    """Where a subscription is in its life."""

    INCOMPLETE = "incomplete"
    TRIALING = "trialing"
    ACTIVE = "active"
    PAST_DUE = "past_due"
    PAUSED = "paused"
    CANCELED = "canceled"
    EXPIRED = "expired"


# Access is on in these and in no other; only these can come to an end by themselves.
ACCESS_ON: Final = frozenset({Status.TRIALING, Status.ACTIVE, Status.PAST_DUE})


@dataclass(frozen=True, slots=True)
class Terms:
    """What of the sold plan and of the customer decides about periods."""

    interval: Interval
    trial_days: int
    grace: timedelta
    zone: ZoneInfo

    @classmethod
    def of(cls, plan: Mapping[str, Any], timezone: str) -> Terms:
        """From a plan (or a snapshot of one) in the shape of the API."""
        interval = plan["interval"]
        return cls(
            interval=Interval(Unit(interval["unit"]), int(interval["count"])),
            trial_days=int(plan["trial_days"]),
            grace=timedelta(hours=int(plan["grace_hours"])),
            zone=ZoneInfo(timezone),
        )


@dataclass(frozen=True, slots=True)
class State:
    """The columns of a subscription that the rules read and write; named as there."""

    status: Status = Status.INCOMPLETE
    is_trial: bool = False
    anchor_at: datetime | None = None
    anchor_no: int = 0
    period_no: int = 0
    end_moves: int = 0
    period_start: datetime | None = None
    period_end: datetime | None = None
    grace_until: datetime | None = None
    cancel_at_period_end: bool = False
    paid_periods: int = 0
    paused_at: datetime | None = None
    paused_from: Status | None = None
    ended_at: datetime | None = None

    @property
    def access_on(self) -> bool:
        """Whether access is desired."""
        return self.status in ACCESS_ON

    @property
    def access_until(self) -> datetime | None:
        """The end of access as it stands: without grace when it is canceled at the period's end."""
        return self.period_end if self.cancel_at_period_end else self.grace_until

    @property
    def end(self) -> datetime:
        """The current period's end, where there must be one."""
        if self.period_end is None:
            raise BrokenRule(f"a subscription that is {self.status} has no period")
        return self.period_end


def started(terms: Terms, *, trial: bool, now: datetime) -> State:
    """A new subscription: `trialing` with access on, or `incomplete` until it is paid."""
    if not trial:
        return State()
    end = moment_after(now, Interval(Unit.DAY, 1), terms.trial_days, terms.zone)
    return State(
        status=Status.TRIALING,
        is_trial=True,
        anchor_at=now,
        anchor_no=terms.trial_days,
        period_start=now,
        period_end=end,
        grace_until=end + terms.grace,
    )


def paid(state: State, terms: Terms, now: datetime) -> State:
    """The state after one more period was paid. Raises IllegalTransition when it is canceled."""
    match state.status:
        case Status.INCOMPLETE | Status.EXPIRED:
            fresh = State(period_no=state.period_no)
            return replace(_next_period(fresh, terms, anchor_at=now, anchor_no=1), status=Status.ACTIVE)
        case Status.TRIALING:
            return replace(state, paid_periods=state.paid_periods + 1)
        case Status.PAUSED if state.paused_from is Status.TRIALING:
            return replace(state, paid_periods=state.paid_periods + 1)
        case Status.PAUSED:
            return _following(state, terms)
        case Status.ACTIVE | Status.PAST_DUE:
            following = _following(state, terms)
            # A period that is over already when it is paid does not end the grace.
            return replace(following, status=Status.ACTIVE if following.end > now else Status.PAST_DUE)
        case Status.CANCELED:
            raise IllegalTransition(state.status, "credit a payment")


def credited_period(state: State, terms: Terms) -> tuple[datetime, datetime]:
    """Start and end of the period that was paid last; in a trial it begins when the trial ends."""
    if state.paid_periods == 0:
        if state.period_start is None:
            raise BrokenRule("nothing was paid yet")
        return state.period_start, state.end
    number = state.paid_periods
    return (
        moment_after(state.end, terms.interval, number - 1, terms.zone),
        moment_after(state.end, terms.interval, number, terms.zone),
    )


def canceled_now(state: State, now: datetime) -> State:
    """Canceled, access off at once."""
    if state.status in {Status.CANCELED, Status.EXPIRED}:
        raise IllegalTransition(state.status, "cancel")
    return replace(state, status=Status.CANCELED, ended_at=now, paused_at=None, paused_from=None)


def canceled_at_end(state: State) -> State:
    """Marked to be canceled when the period ends; the same again changes nothing."""
    if state.status not in {Status.TRIALING, Status.ACTIVE}:
        raise IllegalTransition(state.status, "cancel at the period's end")
    return replace(state, cancel_at_period_end=True)


def paused(state: State, now: datetime) -> State:
    """Access off; what remains of the period is kept."""
    if state.status not in {Status.TRIALING, Status.ACTIVE}:
        raise IllegalTransition(state.status, "pause")
    return replace(state, status=Status.PAUSED, paused_at=now, paused_from=state.status)


def resumed(state: State, terms: Terms, now: datetime) -> State:
    """A paused one goes on with the time that remained; a cancellation at the end is taken back."""
    if state.status in {Status.TRIALING, Status.ACTIVE} and state.cancel_at_period_end:
        return replace(state, cancel_at_period_end=False)
    if state.status is not Status.PAUSED or state.paused_at is None or state.paused_from is None:
        raise IllegalTransition(state.status, "resume")
    pause, start = now - state.paused_at, state.period_start
    if start is not None and start > state.paused_at:
        start += pause
    end = now + max(state.end - state.paused_at, timedelta(0))
    moved = replace(state, status=state.paused_from, period_start=start, paused_at=None, paused_from=None)
    return _with_end(moved, terms, end)


def extended(state: State, terms: Terms, by: timedelta, now: datetime) -> State:
    """The period ends later; what was past due and now ends in the future is current again."""
    if not state.access_on:
        raise IllegalTransition(state.status, "extend")
    moved = _with_end(state, terms, state.end + by)
    if moved.status is Status.PAST_DUE and moved.end > now:
        return replace(moved, status=Status.TRIALING if moved.is_trial else Status.ACTIVE)
    return moved


def expired(state: State, now: datetime) -> State:
    """Expired, access off."""
    if not state.access_on:
        raise IllegalTransition(state.status, "expire")
    return replace(state, status=Status.EXPIRED, ended_at=now)


def when_due(state: State, terms: Terms, now: datetime, *, may_end: bool) -> State | None:
    """The one step that time has made due, or None.

    `may_end` says that nothing keeps the end of access back (no hold, payments can be seen).
    """
    if not state.access_on:
        return None
    if state.status is not Status.PAST_DUE:
        if state.end > now:
            return None
        if state.paid_periods:
            return _paid_trial_over(state, terms)
        if terms.grace and not state.cancel_at_period_end:
            return replace(state, status=Status.PAST_DUE)
    until = state.access_until
    if until is None or until > now or not may_end:
        return None
    if state.cancel_at_period_end:
        return replace(state, status=Status.CANCELED, ended_at=now)
    return expired(state, now)


def _following(state: State, terms: Terms) -> State:
    """The period after the current one; a trial's end is the anchor of the first."""
    if state.is_trial:
        return _next_period(state, terms, anchor_at=state.end, anchor_no=1)
    if state.anchor_at is None:
        raise BrokenRule("a period without an anchor")
    return _next_period(
        state, terms, anchor_at=state.anchor_at, anchor_no=state.anchor_no + 1, start=state.end
    )


def _next_period(
    state: State, terms: Terms, *, anchor_at: datetime, anchor_no: int, start: datetime | None = None
) -> State:
    end = moment_after(anchor_at, terms.interval, anchor_no, terms.zone)
    return replace(
        state,
        is_trial=False,
        anchor_at=anchor_at,
        anchor_no=anchor_no,
        period_no=state.period_no + 1,
        end_moves=0,
        period_start=start or anchor_at,
        period_end=end,
        grace_until=end + terms.grace,
    )


def _paid_trial_over(state: State, terms: Terms) -> State:
    following = _following(state, terms)
    for _ in range(state.paid_periods - 1):
        following = _following(following, terms)
    return replace(following, status=Status.ACTIVE, paid_periods=0)


def _with_end(state: State, terms: Terms, end: datetime) -> State:
    anchored = state if state.is_trial else replace(state, anchor_at=end, anchor_no=0)
    return replace(
        anchored,
        period_start=min(state.period_start or end, end),
        period_end=end,
        grace_until=end + terms.grace,
        end_moves=state.end_moves + 1,
    )
