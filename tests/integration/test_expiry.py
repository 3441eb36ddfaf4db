"""The job `expiry`: ends what is due, keeps back what a hold or a missing sight forbids."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from sqlalchemy import text

from tenure.audit.record import SYSTEM
from tenure.errors import IterationOver
from tenure.kit.db import Database
from tenure.subscriptions import expire_due
from tenure.subscriptions.holds import place_hold, release_hold
from tenure.subscriptions.payable import set_payable
from tenure.subscriptions.sight import Patience
from tests.support import builders as build

CHAIN = "chain:dev"


def _expire(db: Database, **patience: float) -> tuple[int, int, int]:
    run = build.run(db, "expiry")
    expire_due.run(run, Patience(**patience))
    return run.counters.seen, run.counters.done, run.counters.skipped


def _status(db: Database, subscription_id: str) -> str:
    status: str = build.shown(db, subscription_id)["status"]
    return status


def _to_end(db: Database, subscription_id: str, field: str = "period_end") -> None:
    build.advance_to(db, build.moment(db, subscription_id, field))


def _seen(db: Database, *, polled: str = "tenure_now()", head: str = "clock_timestamp()") -> None:
    with db.transaction() as session:
        session.execute(
            text(f"""
                INSERT INTO payment_source (name, polled_at, head_at, block_time_s)
                VALUES (:name, {polled}, {head}, 2)
                ON CONFLICT (name) DO UPDATE SET polled_at = {polled}, head_at = {head}
            """),
            {"name": CHAIN},
        )


def test_at_the_end_grace_begins_with_access_on_and_a_second_pass_changes_nothing(db):
    id_ = build.subscription(db)
    _to_end(db, id_)
    assert _expire(db) == (1, 1, 0)
    first = build.shown(db, id_)
    assert (first["status"], first["entitled"]) == ("past_due", True)
    assert first["provisioning"]["desired_generation"] == 1
    assert _expire(db) == (0, 0, 0)
    assert build.shown(db, id_) == first


def test_after_the_grace_it_expires_once_with_access_off_and_one_notice(db):
    id_ = build.subscription(db, status="past_due")
    _to_end(db, id_, "access_until")
    assert _expire(db) == (1, 1, 0)
    assert _expire(db) == (0, 0, 0)
    shown = build.shown(db, id_)
    assert (shown["status"], shown["entitled"]) == ("expired", False)
    assert shown["provisioning"]["desired_generation"] == 2
    assert build.rows(db, "SELECT kind, state FROM notice") == [("expired", "planned")]
    [event] = build.rows(db, "SELECT iteration_id, data FROM event WHERE type = 'subscription.expired'")
    assert event.data["from"] == "past_due"
    assert build.rows(db, "SELECT 1 FROM iteration WHERE id = :id", id=event.iteration_id)


def test_after_a_long_outage_one_pass_goes_through_the_grace_to_the_expiry(db):
    id_ = build.subscription(db)
    _to_end(db, id_, "access_until")
    _expire(db)
    types = [row.type for row in build.rows(db, "SELECT type FROM event ORDER BY n")]
    assert types[-3:] == ["subscription.past_due", "subscription.expired", "entitlement.changed"]
    assert _status(db, id_) == "expired"


def test_a_trial_that_was_not_paid_follows_the_same_rule(db):
    id_ = build.subscription(db, status="trialing")
    _to_end(db, id_)
    _expire(db)
    assert _status(db, id_) == "past_due"
    _to_end(db, id_, "access_until")
    _expire(db)
    assert _status(db, id_) == "expired"


def test_without_grace_it_expires_at_the_end(db):
    build.plan(db, grace_hours=0)
    id_ = build.subscription(db)
    _to_end(db, id_)
    _expire(db)
    assert _status(db, id_) == "expired"


def test_a_batch_is_no_border(db):
    build.plan(db)
    ids = [build.subscription(db) for _ in range(7)]
    _to_end(db, ids[-1])
    run = build.run(db, "expiry", batch=2)
    expire_due.run(run)
    assert run.counters.done == 7
    assert {_status(db, id_) for id_ in ids} == {"past_due"}


def test_a_hold_keeps_access_on_until_it_is_released(db):
    id_ = build.subscription(db, status="past_due")
    with db.transaction() as session:
        assert place_hold(session, id_, "payment_in_flight", "pay_1")
        assert not place_hold(session, id_, "payment_in_flight", "pay_1")
    assert [hold["ref"] for hold in build.shown(db, id_)["holds"]] == ["pay_1"]
    _to_end(db, id_, "access_until")
    assert _expire(db) == (1, 0, 1)
    assert build.shown(db, id_)["entitled"] is True
    with db.transaction() as session:
        assert release_hold(session, id_, "payment_in_flight", "pay_1")
        assert not release_hold(session, id_, "payment_in_flight", "pay_1")
    assert _expire(db) == (1, 1, 0)
    assert _status(db, id_) == "expired"


def test_a_hold_that_commits_while_the_expiry_waits_is_seen(db):
    id_ = build.subscription(db, status="past_due")
    _to_end(db, id_, "access_until")
    with db.transaction() as holding:
        place_hold(holding, id_, "payment_in_flight", "pay_1")
        expiry = threading.Thread(target=_expire, args=(db,))
        expiry.start()
        expiry.join()
    _expire(db)
    assert _status(db, id_) == "past_due"


@pytest.mark.parametrize(
    ("what", "polled", "head"),
    [
        ("no poll began after the expiry's moment", "tenure_now() - interval '1 day'", "clock_timestamp()"),
        ("the newest block is old", "tenure_now()", "clock_timestamp() - interval '2 minutes'"),
    ],
)
def test_nobody_with_a_payable_invoice_expires_while_the_chain_cannot_be_seen(db, what, polled, head):
    id_ = build.subscription(db, status="past_due")
    end = build.moment(db, id_, "access_until")
    with db.transaction() as session:
        set_payable(session, id_, CHAIN, end + timedelta(hours=1))
    _to_end(db, id_, "access_until")
    assert _expire(db) == (1, 0, 1), "there was never a poll"
    _seen(db, polled=polled, head=head)
    assert _expire(db) == (1, 0, 1), what
    assert build.shown(db, id_)["entitled"] is True
    _seen(db)
    assert _expire(db) == (1, 1, 0)
    assert _status(db, id_) == "expired"


def test_an_invoice_that_could_not_be_paid_any_more_at_the_expiry_keeps_nothing_back(db):
    id_ = build.subscription(db, status="past_due")
    end = build.moment(db, id_, "access_until")
    with db.transaction() as session:
        set_payable(session, id_, CHAIN, end - timedelta(hours=1))
    _to_end(db, id_, "access_until")
    assert _expire(db) == (1, 1, 0)


def test_blindness_over_the_cap_asks_a_person_and_expires_nobody(db):
    id_ = build.subscription(db, status="past_due")
    later = build.moment(db, id_, "access_until") + timedelta(days=9)
    with db.transaction() as session:
        set_payable(session, id_, CHAIN, later)
    _to_end(db, id_, "access_until")
    build.advance(db, timedelta(hours=25))
    assert _expire(db, blind_max_h=24) == (1, 0, 1)
    assert _expire(db, blind_max_h=24) == (1, 0, 1)
    assert build.rows(db, "SELECT rule, subject, count FROM alert WHERE resolved_at IS NULL") == [
        ("expiry_blind", CHAIN, 2)
    ]
    _seen(db)
    _expire(db, blind_max_h=24)
    assert _status(db, id_) == "expired"
    assert not build.rows(db, "SELECT 1 FROM alert WHERE resolved_at IS NULL")


def test_where_only_webhooks_tell_the_expiry_waits_after_our_own_downtime(db):
    id_ = build.subscription(db, status="past_due")
    later = build.moment(db, id_, "access_until") + timedelta(days=9)
    with db.transaction() as session:
        set_payable(session, id_, "provider:acme", later)
        session.execute(
            text("UPDATE payment_source SET seen_ok_at = clock_timestamp() - interval '5 minutes'")
        )
    _to_end(db, id_, "access_until")
    assert _expire(db, reopen_hold_s=900) == (1, 0, 1)
    assert _expire(db, reopen_hold_s=0) == (1, 1, 0)


def test_an_iteration_that_was_ended_by_somebody_else_writes_nothing(db):
    id_ = build.subscription(db)
    _to_end(db, id_)
    run = build.run(db, "expiry")
    build.end_runs(db, "expiry")
    with pytest.raises(IterationOver):
        expire_due.run(run)
    assert _status(db, id_) == "active"


def many_that_are_not_due(db: Database) -> None:
    """Twelve thousand subscriptions, each with its account and a notice that was sent; the planner knows."""
    build.plan(db, reminders=build.STAGES)
    id_ = build.subscription(db)
    with db.transaction() as session:
        session.execute(
            text("""
                INSERT INTO subscription (id, customer_id, plan_code, plan_snapshot, grace_hours, status,
                    anchor_at, anchor_no, period_no, period_start, period_end, grace_until, remind_at)
                SELECT tenure_id('sub'), customer_id, plan_code, plan_snapshot, grace_hours, status,
                       anchor_at, 1, 1, period_start, period_end, grace_until,
                       tenure_now() + interval '9 days'
                FROM subscription, generate_series(1, 12000) WHERE id = :id
            """),
            {"id": id_},
        )
        session.execute(
            text("""
                INSERT INTO provisioning (subscription_id, plan_code, external_id)
                SELECT id, plan_code, id FROM subscription ON CONFLICT DO NOTHING
            """)
        )
        session.execute(
            text("""
                INSERT INTO notice (id, subscription_id, kind, channel, state, sent_at)
                SELECT tenure_id('ntc'), id, 'expired', 'email', 'sent', clock_timestamp() FROM subscription
            """)
        )
    with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE"))


def test_idle_passes_read_no_table_whole(db):
    """On ten thousand subscriptions that are not due, every scan of the jobs goes through an index."""
    many_that_are_not_due(db)
    from tenure.notices import plan_reminders, send_planned
    from tenure.provisioning import reconcile
    from tenure.subscriptions import sight

    small = {
        "batch": 1000,
        "reopen_hold_s": 900.0,
        "blind_max_h": 24.0,
        "iteration_id": "itr",
        "chunk": 8,
        "lowest": 9,
        "lease_s": 100,
        "token": "t",
        "most": 1000,
        "channels": ["email"],
        "keep_trying_h": 72,
        "kinds": ["payment_confirmed"],
        "resend_s": 60.0,
    }
    statements = {
        "period over": expire_due._PERIOD_OVER,
        "grace over": expire_due._GRACE_OVER,
        "kept back": expire_due._KEPT_BACK,
        "blind": sight._BLIND,
        "reminders": plan_reminders._OF_PERIODS,
        "trials": plan_reminders._OF_TRIALS,
        "access to apply": reconcile._CLAIM,
        "access waiting": reconcile._WAITING,
        "orphaned locks": reconcile._UNLOCK_ORPHANS,
        "notices to send": send_planned._CLAIM,
        "notices waiting": send_planned._WAITING,
        "notices of closed channels": send_planned._CHANNEL_OFF,
        "orphaned notices": send_planned._ORPHANS,
        "notices to send again": send_planned._RESEND_DUE,
    }
    with db.transaction() as session:
        for name, statement in statements.items():
            plan = session.execute(text(f"EXPLAIN {statement.text}"), small).scalars().all()
            whole = [
                line
                for line in plan
                if "Seq Scan on" in line
                and any(f" on {table}" in line for table in ("subscription", "provisioning", "notice"))
            ]
            assert not whole, (name, whole)


def test_an_extension_that_comes_first_wins_over_the_expiry(db):
    from tenure.subscriptions.extend import extend

    id_ = build.subscription(db, status="past_due")
    _to_end(db, id_, "access_until")
    with db.transaction() as session:
        extend(session, id_, hours=24, reason="asked for time", actor=SYSTEM)
    assert _expire(db)[1] == 0
    assert _status(db, id_) == "past_due"
