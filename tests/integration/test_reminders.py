"""The jobs `reminders` and `trial_notifications`: each stage once, in its time, or skipped with a reason."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tenure.audit.record import SYSTEM
from tenure.kit.db import Database
from tenure.notices import plan_reminders
from tenure.subscriptions import expire_due
from tenure.subscriptions.cancel import cancel
from tenure.subscriptions.extend import extend
from tests.support import builders as build


@pytest.fixture
def basic(db: Database) -> str:
    return build.plan(db, reminders=build.STAGES)


def _pass(db: Database) -> None:
    """Everything that runs by itself, once."""
    expire_due.run(build.run(db, "expiry"))
    plan_reminders.run_trials(build.run(db, "trial_notifications"))
    plan_reminders.run_periods(build.run(db, "reminders"))


def _planned(db: Database) -> list[tuple[str, str, str | None]]:
    """The stages that were decided on, oldest first, with why they were skipped."""
    found = build.rows(
        db,
        "SELECT kind, stage, skipped_reason FROM notice WHERE stage <> '' ORDER BY planned_at, stage",
    )
    return [(row.kind, row.stage, row.skipped_reason) for row in found]


def test_each_stage_comes_once_in_its_time_and_a_second_pass_changes_nothing(db, basic):
    id_ = build.subscription(db)
    end = build.moment(db, id_, "period_end")
    _pass(db)
    assert _planned(db) == []
    expected = []
    for hours, kind, stage in (
        (-72, "period_ending", "d-3"),
        (-24, "period_ending", "d-1"),
        (0, "past_due", "d0"),
        (24, "past_due", "d+1"),
    ):
        build.advance_to(db, end + timedelta(hours=hours))
        _pass(db)
        expected.append((kind, stage, None))
        assert _planned(db) == expected
        _pass(db)
        assert _planned(db) == expected
    build.advance_to(db, end + timedelta(hours=48))
    _pass(db)
    _pass(db)
    assert _planned(db) == expected
    assert build.rows(db, "SELECT kind FROM notice WHERE stage = ''") == [("expired",)]
    assert build.rows(db, "SELECT remind_at FROM subscription") == [(None,)]


def test_a_trial_ending_is_told_in_the_trial_and_the_missing_payment_after_it(db, basic):
    id_ = build.subscription(db, status="trialing")
    end = build.moment(db, id_, "period_end")
    for hours in (-72, -24, 0, 24):
        build.advance_to(db, end + timedelta(hours=hours))
        _pass(db)
    assert _planned(db) == [
        ("trial_ending", "d-3", None),
        ("trial_ending", "d-1", None),
        ("past_due", "d0", None),
        ("past_due", "d+1", None),
    ]


def test_the_jobs_keep_to_their_own_periods(db, basic):
    trial = build.subscription(db, status="trialing")
    build.advance_to(db, build.moment(db, trial, "period_end") - timedelta(hours=70))
    plan_reminders.run_periods(build.run(db, "reminders"))
    assert _planned(db) == []
    plan_reminders.run_trials(build.run(db, "trial_notifications"))
    assert [stage for _, stage, _ in _planned(db)] == ["d-3"]


def test_a_trial_that_is_paid_is_not_asked_to_pay(db, basic):
    id_ = build.subscription(db, status="trialing")
    build.pay(db, id_)
    build.advance_to(db, build.moment(db, id_, "period_end") - timedelta(hours=70))
    _pass(db)
    assert _planned(db) == [("trial_ending", "d-3", "renewed")]


def test_what_was_missed_during_an_outage_is_skipped_and_the_current_stage_is_sent(db, basic):
    id_ = build.subscription(db)
    build.advance_to(db, build.moment(db, id_, "period_end") - timedelta(hours=20))
    _pass(db)
    assert _planned(db) == [("period_ending", "d-3", "stale"), ("period_ending", "d-1", None)]


def test_after_an_outage_over_the_whole_end_everything_is_skipped_as_stale(db, basic):
    id_ = build.subscription(db)
    build.advance_to(db, build.moment(db, id_, "access_until"))
    _pass(db)
    assert build.shown(db, id_)["status"] == "expired"
    assert _planned(db) == [
        ("period_ending", "d-3", "stale"),
        ("period_ending", "d-1", "stale"),
        ("past_due", "d0", "stale"),
        ("past_due", "d+1", "stale"),
    ]


def test_a_renewal_has_stages_of_its_own(db, basic):
    id_ = build.subscription(db)
    build.advance_to(db, build.moment(db, id_, "period_end") - timedelta(hours=70))
    _pass(db)
    build.pay(db, id_)
    _pass(db)
    assert len(_planned(db)) == 1
    build.advance_to(db, build.moment(db, id_, "period_end") - timedelta(hours=70))
    _pass(db)
    assert [stage for _, stage, _ in _planned(db)] == ["d-3", "d-3"]
    assert build.rows(db, "SELECT ref FROM notice ORDER BY planned_at") == [("1",), ("2",)]


def test_an_end_that_was_moved_is_announced_again(db, basic):
    id_ = build.subscription(db)
    build.advance_to(db, build.moment(db, id_, "period_end") - timedelta(hours=70))
    _pass(db)
    with db.transaction() as session:
        extend(session, id_, hours=200, reason="goodwill", actor=SYSTEM)
    build.advance_to(db, build.moment(db, id_, "period_end") - timedelta(hours=70))
    _pass(db)
    assert build.rows(db, "SELECT stage, ref FROM notice ORDER BY planned_at") == [
        ("d-3", "1"),
        ("d-3", "1.1"),
    ]


def test_a_canceled_subscription_is_not_reminded(db, basic):
    id_ = build.subscription(db)
    build.advance_to(db, build.moment(db, id_, "period_end") - timedelta(hours=73))
    with db.transaction() as session:
        cancel(session, id_, at_period_end=False, actor=SYSTEM)
    _pass(db)
    build.advance(db, timedelta(hours=2))
    _pass(db)
    assert _planned(db) == []


def test_only_channels_of_the_stage_that_the_customer_has_are_used(db):
    from tenure.plans.rules import Stage

    build.plan(db, reminders=(Stage("soon", -72, ("email", "telegram")),))
    silent = build.customer(db, email=None)
    chatty = build.customer(db, telegram_chat_id="4711")
    for who in (silent, chatty):
        last = build.subscription(db, customer_id=who)
    build.advance_to(db, build.moment(db, last, "period_end") - timedelta(hours=70))
    _pass(db)
    assert build.rows(db, "SELECT channel FROM notice ORDER BY channel") == [("email",), ("telegram",)]


def test_two_stages_at_the_same_moment_are_both_sent(db):
    from tenure.plans.rules import Stage

    build.plan(db, reminders=(Stage("mail", -24, ("email",)), Stage("chat", -24, ("telegram",))))
    id_ = build.subscription(db, customer_id=build.customer(db, telegram_chat_id="4711"))
    build.advance_to(db, build.moment(db, id_, "period_end") - timedelta(hours=20))
    _pass(db)
    assert [reason for _, _, reason in _planned(db)] == [None, None]


def test_a_batch_is_no_border(db, basic):
    ids = [build.subscription(db) for _ in range(5)]
    build.advance_to(db, build.moment(db, ids[-1], "period_end") - timedelta(hours=70))
    run = build.run(db, "reminders", batch=2)
    plan_reminders.run_periods(run)
    assert (run.counters.seen, run.counters.done) == (5, 5)
    again = build.run(db, "reminders", batch=2)
    plan_reminders.run_periods(again)
    assert again.counters.seen == 0
