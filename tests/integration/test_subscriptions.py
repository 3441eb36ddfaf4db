"""What happens to a subscription by payments and operators, on a real database."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tenure.audit.record import SYSTEM
from tenure.errors import Conflict, IllegalTransition, Invalid, NotFound
from tenure.kit.db import Database
from tenure.kit.times import rfc3339
from tenure.subscriptions import expire_due, queries
from tenure.subscriptions.cancel import cancel
from tenure.subscriptions.change_customer import change_customer
from tenure.subscriptions.expire import expire
from tenure.subscriptions.extend import extend
from tenure.subscriptions.pause import pause
from tenure.subscriptions.resume import resume
from tenure.subscriptions.start import start
from tenure.subscriptions.timeline import timeline
from tests.support import builders as build


def _do(db: Database, verb, subscription_id: str, **arguments):
    with db.transaction() as session:
        verb(session, subscription_id, actor=SYSTEM, **arguments)
    return build.shown(db, subscription_id)


def _events(db: Database, subscription_id: str) -> list[str]:
    return [
        row.type
        for row in build.rows(
            db, "SELECT type FROM event WHERE subscription_id = :id ORDER BY n", id=subscription_id
        )
    ]


def test_a_subscription_without_trial_waits_for_its_payment_with_access_off(db):
    shown = build.shown(db, build.subscription(db, status="incomplete"))
    assert (shown["status"], shown["entitled"], shown["period_end"]) == ("incomplete", False, None)
    assert shown["provisioning"] | {} == {
        "desired": "off",
        "desired_generation": 0,
        "applied_generation": 0,
        "state": "in_sync",
        "attempts": 0,
        "applied_at": None,
        "last_error": None,
    }


def test_the_first_payment_starts_the_period_and_is_generation_1_first_in_line(db):
    id_ = build.subscription(db, status="incomplete")
    credited = build.pay(db, id_)
    shown = build.shown(db, id_)
    assert shown["status"] == credited.status == "active"
    assert shown["anchor_at"] == shown["period_start"] == rfc3339(credited.period_start)
    assert shown["period_end"] == rfc3339(credited.period_end)
    assert build.moment(db, id_, "grace_until") == credited.period_end + timedelta(hours=48)
    assert shown["access_until"] == shown["grace_until"]
    assert (shown["provisioning"]["desired"], shown["provisioning"]["desired_generation"]) == ("on", 1)
    assert build.rows(db, "SELECT priority, state FROM provisioning")[0] == (0, "pending")
    assert _events(db, id_) == ["subscription.created", "subscription.activated", "entitlement.changed"]


def test_a_renewal_follows_the_old_period_and_raises_the_generation_without_a_flip(db):
    id_ = build.subscription(db)
    first = build.shown(db, id_)
    build.pay(db, id_)
    second = build.shown(db, id_)
    assert second["period_start"] == first["period_end"]
    assert second["provisioning"]["desired_generation"] == 2
    assert _events(db, id_)[-1] == "subscription.renewed"
    assert _events(db, id_).count("entitlement.changed") == 1


def test_a_trial_has_access_and_is_announced_once_on_each_channel_of_the_customer(db):
    build.plan(db)
    both = build.customer(db, telegram_chat_id="4711")
    id_ = build.subscription(db, status="trialing", customer_id=both)
    shown = build.shown(db, id_)
    assert (shown["status"], shown["entitled"]) == ("trialing", True)
    assert shown["provisioning"]["desired_generation"] == 1
    found = build.rows(db, "SELECT kind, channel, state FROM notice ORDER BY channel")
    assert found == [("trial_started", "email", "planned"), ("trial_started", "telegram", "planned")]


def test_paid_in_the_trial_it_stays_trialing_and_the_paid_period_starts_at_its_end(db):
    id_ = build.subscription(db, status="trialing")
    end = build.moment(db, id_, "period_end")
    credited = build.pay(db, id_)
    assert (credited.status, credited.period_start) == ("trialing", end)
    assert build.shown(db, id_)["period_end"] == rfc3339(end)
    build.advance_to(db, end)
    expire_due.run(build.run(db, "expiry"))
    shown = build.shown(db, id_)
    assert (shown["status"], shown["anchor_at"], shown["period_start"]) == (
        "active",
        rfc3339(end),
        rfc3339(end),
    )
    assert shown["period_end"] == rfc3339(credited.period_end)
    assert shown["entitled"] is True


def test_a_payment_in_the_grace_makes_it_active_from_the_old_end(db):
    id_ = build.subscription(db, status="past_due")
    end = build.moment(db, id_, "period_end")
    credited = build.pay(db, id_)
    assert (credited.status, credited.period_start) == ("active", end)


def test_a_payment_after_expiry_starts_anew_from_now(db):
    id_ = build.subscription(db, status="expired")
    before = build.now(db)
    credited = build.pay(db, id_)
    shown = build.shown(db, id_)
    assert credited.period_start >= before
    assert shown["anchor_at"] == rfc3339(credited.period_start)
    assert (shown["status"], shown["entitled"]) == ("active", True)


def test_a_canceled_subscription_takes_no_payment(db):
    id_ = build.subscription(db, status="canceled")
    with pytest.raises(Conflict) as refused:
        build.pay(db, id_)
    assert refused.value.extra["current"] == "canceled"
    assert build.shown(db, id_)["status"] == "canceled"


def test_cancel_now_switches_access_off(db):
    id_ = build.subscription(db)
    shown = _do(db, cancel, id_, at_period_end=False)
    assert (shown["status"], shown["entitled"]) == ("canceled", False)
    assert shown["provisioning"]["desired_generation"] == 2
    assert _events(db, id_)[-2:] == ["subscription.canceled", "entitlement.changed"]


def test_cancel_at_the_end_keeps_access_without_grace_and_then_cancels(db):
    id_ = build.subscription(db)
    shown = _do(db, cancel, id_, at_period_end=True)
    assert (shown["status"], shown["cancel_at_period_end"], shown["entitled"]) == ("active", True, True)
    assert shown["access_until"] == shown["period_end"]
    assert _do(db, cancel, id_, at_period_end=True) == shown
    build.advance_to(db, build.moment(db, id_, "period_end"))
    expire_due.run(build.run(db, "expiry"))
    shown = build.shown(db, id_)
    assert (shown["status"], shown["entitled"]) == ("canceled", False)


def test_resume_takes_a_cancellation_at_the_end_back(db):
    id_ = build.subscription(db)
    _do(db, cancel, id_, at_period_end=True)
    shown = _do(db, resume, id_)
    assert (shown["cancel_at_period_end"], shown["access_until"]) == (False, shown["grace_until"])


def test_a_pause_keeps_what_remains(db):
    id_ = build.subscription(db)
    end = build.moment(db, id_, "period_end")
    shown = _do(db, pause, id_)
    assert (shown["status"], shown["entitled"]) == ("paused", False)
    build.advance(db, timedelta(days=90))
    expire_due.run(build.run(db, "expiry"))
    assert build.shown(db, id_)["status"] == "paused"
    shown = _do(db, resume, id_)
    assert (shown["status"], shown["entitled"]) == ("active", True)
    moved = build.moment(db, id_, "period_end") - end
    assert timedelta(days=90) <= moved < timedelta(days=90, minutes=1)


def test_extend_moves_the_end_and_needs_a_span(db):
    id_ = build.subscription(db)
    end = build.moment(db, id_, "period_end")
    shown = _do(db, extend, id_, hours=30, reason="goodwill")
    assert build.moment(db, id_, "period_end") == end + timedelta(hours=30)
    assert shown["provisioning"]["desired_generation"] == 2
    with pytest.raises(Invalid):
        _do(db, extend, id_, hours=0, reason="nothing")
    credited = build.pay(db, id_)
    assert credited.period_start == end + timedelta(hours=30)


def test_an_extension_beyond_now_ends_the_grace(db):
    id_ = build.subscription(db, status="past_due")
    assert _do(db, extend, id_, hours=72, reason="goodwill")["status"] == "active"


def test_an_operator_expires_also_against_a_hold(db):
    from tenure.subscriptions.holds import place_hold

    id_ = build.subscription(db)
    with db.transaction() as session:
        place_hold(session, id_, "fraud", "case-1")
    shown = _do(db, expire, id_, reason="charge-back")
    assert (shown["status"], shown["entitled"]) == ("expired", False)
    assert build.rows(db, "SELECT kind FROM notice")[0].kind == "expired"


@pytest.mark.parametrize(
    ("status", "verb", "arguments"),
    [
        ("incomplete", pause, {}),
        ("incomplete", resume, {}),
        ("incomplete", extend, {"hours": 1, "reason": "x"}),
        ("incomplete", expire, {"reason": "x"}),
        ("incomplete", cancel, {"at_period_end": True}),
        ("active", resume, {}),
        ("past_due", pause, {}),
        ("past_due", cancel, {"at_period_end": True}),
        ("paused", pause, {}),
        ("paused", extend, {"hours": 1, "reason": "x"}),
        ("paused", expire, {"reason": "x"}),
        ("canceled", cancel, {"at_period_end": False}),
        ("canceled", resume, {}),
        ("canceled", extend, {"hours": 1, "reason": "x"}),
        ("expired", expire, {"reason": "x"}),
        ("expired", cancel, {"at_period_end": False}),
        ("expired", extend, {"hours": 1, "reason": "x"}),
    ],
)
def test_what_the_state_does_not_allow_is_refused_and_changes_nothing(db, status, verb, arguments):
    id_ = build.subscription(db, status=status)
    before, events = build.shown(db, id_), _events(db, id_)
    with pytest.raises(IllegalTransition) as refused:
        _do(db, verb, id_, **arguments)
    assert refused.value.extra["current"] == status
    assert (build.shown(db, id_), _events(db, id_)) == (before, events)


def test_starting_names_everything_that_is_unknown(db):
    with db.transaction() as session, pytest.raises(Invalid) as refused:
        start(session, customer_id="cus_none", plan_code="none", trial=False, actor=SYSTEM)
    assert {error.code for error in refused.value.errors} == {"unknown_customer", "unknown_plan"}


def test_an_unknown_subscription_is_not_found(db):
    with pytest.raises(NotFound):
        build.pay(db, "sub_none")


def test_a_changed_customer_is_told_to_the_provisioner_where_an_account_was_on(db):
    build.plan(db)
    who = build.customer(db)
    on = build.subscription(db, customer_id=who)
    never = build.subscription(db, status="incomplete", customer_id=who)
    with db.transaction() as session:
        change_customer(session, customer_id=who, changes={"email": "new@example.test"}, actor=SYSTEM)
        change_customer(session, customer_id=who, changes={"email": "new@example.test"}, actor=SYSTEM)
    assert build.shown(db, on)["provisioning"]["desired_generation"] == 2
    assert build.shown(db, never)["provisioning"]["desired_generation"] == 0


def test_entitlements_follow_desired_access(db):
    build.plan(db)
    who = build.customer(db, external_id="alice")
    id_ = build.subscription(db, customer_id=who)
    with db.transaction() as session:
        told = queries.entitlements(session, "alice")
        nobody = queries.entitlements(session, "nobody")
    assert told["entitled"] is True
    assert told["access_until"] == build.shown(db, id_)["access_until"]
    assert [one["id"] for one in told["subscriptions"]] == [id_]
    assert nobody == {"entitled": False, "access_until": None, "subscriptions": []}
    _do(db, cancel, id_, at_period_end=False)
    with db.transaction() as session:
        told = queries.entitlements(session, "alice")
    assert (told["entitled"], told["access_until"]) == (False, None)


def test_the_timeline_is_oldest_first_and_names_the_iteration_and_its_worker(db):
    id_ = build.subscription(db, status="expired")
    with db.transaction() as session:
        whole = timeline(session, id_, limit=100)["items"]
        first = timeline(session, id_, limit=3)
        rest = timeline(session, id_, limit=100, cursor=first["next_cursor"])["items"]
    assert [entry["ts"] for entry in whole] == sorted(entry["ts"] for entry in whole)
    assert first["items"] + rest == whole
    by_type = {entry["type"]: entry for entry in whole}
    assert by_type["subscription.create"]["kind"] == "operator"
    assert by_type["subscription.expired"]["worker"] == "test@here"
    assert by_type["subscription.expired"]["job"] == "expiry"
    assert by_type["expired"]["kind"] == "notice"


def test_lists_page_newest_first_and_filter(db):
    build.plan(db)
    who = build.customer(db)
    ids = [build.subscription(db, customer_id=who) for _ in range(3)]
    build.subscription(db, status="incomplete")
    with db.transaction() as session:
        first = queries.subscriptions(session, limit=2, customer=who)
        second = queries.subscriptions(session, limit=2, customer=who, cursor=first["next_cursor"])
        incomplete = queries.subscriptions(session, limit=9, status="incomplete")
    assert [one["id"] for one in first["items"] + second["items"]] == ids[::-1]
    assert second["next_cursor"] is None
    assert len(incomplete["items"]) == 1
