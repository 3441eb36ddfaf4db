"""The rules of a subscription's life: tables of cases, and properties that hold for all."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenure.errors import IllegalTransition
from tenure.subscriptions import rules
from tenure.subscriptions.periods import Interval, Unit, moment_after
from tenure.subscriptions.rules import ACCESS_ON, State, Status, Terms

ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kolkata",
    "Australia/Lord_Howe",
    "America/Santiago",
]
NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
MONTHLY = Terms(Interval(Unit.MONTH, 1), 7, timedelta(hours=48), ZoneInfo("UTC"))
NO_GRACE = replace(MONTHLY, grace=timedelta(0))


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


@pytest.mark.parametrize(
    ("anchor", "interval", "times", "zone", "expected"),
    [
        ("2026-01-31T10:00:00Z", Interval(Unit.MONTH, 1), 1, "UTC", "2026-02-28T10:00:00Z"),
        ("2026-01-31T10:00:00Z", Interval(Unit.MONTH, 1), 2, "UTC", "2026-03-31T10:00:00Z"),
        ("2026-01-31T10:00:00Z", Interval(Unit.MONTH, 1), 4, "UTC", "2026-05-31T10:00:00Z"),
        ("2024-02-29T00:00:00Z", Interval(Unit.YEAR, 1), 1, "UTC", "2025-02-28T00:00:00Z"),
        ("2024-02-29T00:00:00Z", Interval(Unit.YEAR, 4), 1, "UTC", "2028-02-29T00:00:00Z"),
        ("2026-11-30T00:00:00Z", Interval(Unit.MONTH, 3), 1, "UTC", "2027-02-28T00:00:00Z"),
        # Noon stays noon over the changes of Europe's clocks.
        ("2026-03-28T12:00:00+01:00", Interval(Unit.DAY, 1), 1, "Europe/Berlin", "2026-03-29T12:00:00+02:00"),
        (
            "2026-10-24T12:00:00+02:00",
            Interval(Unit.WEEK, 1),
            1,
            "Europe/Berlin",
            "2026-10-31T12:00:00+01:00",
        ),
        # 02:30 does not exist on that day and is moved forward; on the next it is itself again.
        ("2026-03-28T02:30:00+01:00", Interval(Unit.DAY, 1), 1, "Europe/Berlin", "2026-03-29T03:30:00+02:00"),
        ("2026-03-28T02:30:00+01:00", Interval(Unit.DAY, 1), 2, "Europe/Berlin", "2026-03-30T02:30:00+02:00"),
        # 02:30 comes twice: the first counts.
        ("2026-10-24T02:30:00+02:00", Interval(Unit.DAY, 1), 1, "Europe/Berlin", "2026-10-25T02:30:00+02:00"),
        # The month's last day is the customer's, not UTC's.
        (
            "2026-01-31T23:30:00-05:00",
            Interval(Unit.MONTH, 1),
            1,
            "America/New_York",
            "2026-02-28T23:30:00-05:00",
        ),
        ("2026-05-05T05:05:05Z", Interval(Unit.DAY, 30), 0, "Asia/Kolkata", "2026-05-05T05:05:05Z"),
    ],
)
def test_moments_are_counted_from_the_anchor_in_the_customers_zone(anchor, interval, times, zone, expected):
    assert moment_after(at(anchor), interval, times, ZoneInfo(zone)) == at(expected)


moments = st.datetimes(
    min_value=datetime(2020, 1, 1),  # noqa: DTZ001 - hypothesis adds the zone
    max_value=datetime(2060, 1, 1),  # noqa: DTZ001 - hypothesis adds the zone
    timezones=st.just(UTC),
)
intervals = st.builds(Interval, st.sampled_from(Unit), st.integers(1, 12))
zones = st.sampled_from(ZONES).map(ZoneInfo)
all_terms = st.builds(
    Terms, intervals, st.integers(1, 60), st.sampled_from([timedelta(0), timedelta(hours=72)]), zones
)


@given(moments, intervals, zones, st.integers(1, 40))
def test_periods_follow_each_other_without_gap_or_turn(anchor, interval, zone, count):
    ends = [moment_after(anchor, interval, number, zone) for number in range(count + 1)]
    assert all(earlier < later for earlier, later in pairwise(ends))


@given(moments, all_terms, st.integers(1, 24))
def test_paying_early_or_in_time_never_loses_a_day_of_the_anchor(now, terms, count):
    state = rules.paid(State(), terms, now)
    for _ in range(count - 1):
        state = rules.paid(state, terms, now)
    assert state.period_end == moment_after(now, terms.interval, count, terms.zone)
    assert state.period_no == state.anchor_no == count


@given(moments, all_terms)
def test_a_trial_paid_ahead_equals_a_trial_paid_at_its_end(now, terms):
    trial = rules.started(terms, trial=True, now=now)
    ahead = rules.when_due(rules.paid(trial, terms, now), terms, trial.end, may_end=True)
    assert ahead is not None
    assert ahead == rules.paid(trial_as_past_due(trial), terms, trial.end)
    assert ahead.anchor_at == trial.end


def trial_as_past_due(trial: State) -> State:
    return replace(trial, status=Status.PAST_DUE)


acts = st.lists(
    st.tuples(
        st.sampled_from(["pay", "cancel", "cancel_at_end", "pause", "resume", "extend", "expire", "time"]),
        st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=40)),
    ),
    max_size=25,
)


def _acted(state: State, terms: Terms, act: str, now: datetime) -> State:
    match act:
        case "pay":
            return rules.paid(state, terms, now)
        case "cancel":
            return rules.canceled_now(state, now)
        case "cancel_at_end":
            return rules.canceled_at_end(state)
        case "pause":
            return rules.paused(state, now)
        case "resume":
            return rules.resumed(state, terms, now)
        case "extend":
            return rules.extended(state, terms, timedelta(hours=30), now)
        case "expire":
            return rules.expired(state, now)
    while (due := rules.when_due(state, terms, now, may_end=True)) is not None:
        state = due
    return state


@given(moments, all_terms, st.booleans(), acts)
@settings(max_examples=200)
def test_whatever_is_done_in_whatever_order_the_state_stays_whole(now, terms, trial, doing):
    state = rules.started(terms, trial=trial, now=now)
    for act, later in doing:
        now += later
        before = state
        try:
            state = _acted(state, terms, act, now)
        except IllegalTransition:
            continue
        # What the table's constraints demand.
        whole = [state.period_start, state.period_end, state.grace_until]
        assert all(whole) or not any(whole)
        if state.period_start and state.period_end and state.grace_until:
            assert state.period_start <= state.period_end <= state.grace_until
            assert state.grace_until - state.period_end == terms.grace
        assert (state.status is Status.PAUSED) == (state.paused_at is not None)
        assert state.status is not Status.TRIALING or state.is_trial
        assert state.period_no >= before.period_no
        # Nobody who paid loses access by paying.
        if act == "pay" and before.status in ACCESS_ON:
            assert state.access_on
        # Time alone never switches access on.
        if act == "time" and not before.access_on:
            assert state == before
        if act == "time":
            assert not state.access_on or state.access_until is None or state.access_until > now


def _life(status: str) -> State:
    trial = rules.started(MONTHLY, trial=True, now=NOW)
    active = rules.paid(State(), MONTHLY, NOW)
    return {
        "incomplete": State(),
        "trialing": trial,
        "active": active,
        "past_due": replace(active, status=Status.PAST_DUE),
        "paused": rules.paused(active, NOW),
        "canceled": rules.canceled_now(active, NOW),
        "expired": rules.expired(active, NOW),
    }[status]


ALLOWED = {
    "pay": {"incomplete", "trialing", "active", "past_due", "paused", "expired"},
    "cancel": {"incomplete", "trialing", "active", "past_due", "paused"},
    "cancel_at_end": {"trialing", "active"},
    "pause": {"trialing", "active"},
    "resume": {"paused"},
    "extend": {"trialing", "active", "past_due"},
    "expire": {"trialing", "active", "past_due"},
}


@pytest.mark.parametrize("status", [status.value for status in Status])
@pytest.mark.parametrize("act", ALLOWED)
def test_each_act_is_allowed_in_its_states_and_in_no_other(act, status):
    if status in ALLOWED[act]:
        _acted(_life(status), MONTHLY, act, NOW)
    else:
        with pytest.raises(IllegalTransition):
            _acted(_life(status), MONTHLY, act, NOW)


END = datetime(2026, 4, 10, 12, tzinfo=UTC)
SOON = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("name", "change", "terms", "now", "may_end", "expected"),
    [
        ("before the end nothing is due", {}, MONTHLY, END - SOON, True, None),
        ("at the end grace begins", {}, MONTHLY, END, True, Status.PAST_DUE),
        ("grace begins also while blind", {}, MONTHLY, END, False, Status.PAST_DUE),
        (
            "long after the end grace comes first",
            {},
            MONTHLY,
            END + timedelta(days=30),
            True,
            Status.PAST_DUE,
        ),
        ("without grace it expires at the end", {}, NO_GRACE, END, True, Status.EXPIRED),
        ("a hold keeps the expiry back", {}, NO_GRACE, END, False, None),
        (
            "inside the grace nothing is due",
            {"status": Status.PAST_DUE},
            MONTHLY,
            END + timedelta(hours=47),
            True,
            None,
        ),
        (
            "after the grace it expires",
            {"status": Status.PAST_DUE},
            MONTHLY,
            END + timedelta(hours=48),
            True,
            Status.EXPIRED,
        ),
        (
            "canceled at the end there is no grace",
            {"cancel_at_period_end": True},
            MONTHLY,
            END,
            True,
            Status.CANCELED,
        ),
        (
            "a hold keeps the cancellation back",
            {"cancel_at_period_end": True},
            MONTHLY,
            END,
            False,
            None,
        ),
        ("what is off stays off", {"status": Status.EXPIRED}, MONTHLY, END + timedelta(days=99), True, None),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_time_makes_due(name, change, terms, now, may_end, expected):
    state = replace(rules.paid(State(), terms, NOW), **change)
    due = rules.when_due(state, terms, now, may_end=may_end)
    assert (due.status if due else None) == expected


def test_a_period_that_is_over_when_it_is_paid_does_not_end_the_grace():
    daily = replace(MONTHLY, interval=Interval(Unit.DAY, 1), grace=timedelta(days=10))
    state = replace(rules.paid(State(), daily, NOW), status=Status.PAST_DUE)
    late = NOW + timedelta(days=5)
    assert rules.paid(state, daily, late).status is Status.PAST_DUE
    for _ in range(5):
        state = rules.paid(state, daily, late)
    assert state.status is Status.ACTIVE
