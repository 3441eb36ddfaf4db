"""The job `activation` against a real provisioner over HTTP."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import text

from tenure.audit.record import SYSTEM
from tenure.iterations.run import Run
from tenure.kit.db import Database
from tenure.kit.http import HttpDoor
from tenure.providers.provisioner import HttpProvisioner
from tenure.provisioning import reconcile
from tenure.provisioning.ports import Account, Outcome
from tenure.standins.faults import Fault, FaultKind
from tenure.standins.provisioner import ProvisionerStandIn
from tenure.subscriptions import expire_due
from tenure.subscriptions.cancel import cancel
from tests.support import builders as build
from tests.support.waiting import until

SECRET = "a-secret-of-the-provisioner"


@pytest.fixture
def service() -> Iterator[ProvisionerStandIn]:
    with ProvisionerStandIn(secrets=[SECRET]) as running:
        yield running


@pytest.fixture
def provisioner(service: ProvisionerStandIn) -> Iterator[HttpProvisioner]:
    door = HttpDoor(allow_private=True)
    yield HttpProvisioner(door, url=service.url, secrets=[SECRET])
    door.close()


def _reconcile(db: Database, provisioner) -> Run:
    run = build.run(db, "activation")
    reconcile.run(run, provisioner)
    return run


def _make_due(db: Database) -> None:
    """Back-off is over."""
    with db.transaction() as session:
        session.execute(text("UPDATE provisioning SET next_at = clock_timestamp() WHERE state = 'pending'"))


def _applied(db: Database) -> bool:
    return not build.rows(db, "SELECT 1 FROM provisioning WHERE state <> 'in_sync'")


def test_a_payment_becomes_one_put_with_the_whole_state_and_a_second_pass_asks_nothing(
    db, service, provisioner
):
    build.plan(db)
    who = build.customer(db, external_id="alice", email="alice@example.test")
    id_ = build.subscription(db, customer_id=who)
    assert _reconcile(db, provisioner).counters.as_dict() == {"seen": 1, "done": 1, "skipped": 0, "failed": 0}
    assert _reconcile(db, provisioner).counters.seen == 0
    shown = build.shown(db, id_)
    [call] = service.journal
    assert (call["account"], call["generation"], call["enabled"], call["status"]) == (id_, 1, True, 200)
    assert call["access_until"] == shown["access_until"]
    assert call["customer"] == {"external_id": "alice", "email": "alice@example.test"}
    assert (shown["provisioning"]["state"], shown["provisioning"]["applied_generation"]) == ("in_sync", 1)
    [event] = build.rows(db, "SELECT data FROM event WHERE type = 'provisioning.applied'")
    assert event.data["generation"] == 1


def test_without_a_provisioner_the_rows_wait_and_are_counted(db):
    build.subscription(db)
    run = _reconcile(db, None)
    assert run.counters.as_dict() == {"seen": 1, "done": 0, "skipped": 1, "failed": 0}
    assert build.rows(db, "SELECT state, locked_by FROM provisioning") == [("pending", None)]


def test_a_busy_provisioner_is_asked_again_when_it_wishes(db, service, provisioner):
    id_ = build.subscription(db)
    service.faults.plan(Fault(FaultKind.STATUS, status=429, retry_after_s=120))
    run = _reconcile(db, provisioner)
    assert service.faults.hits == {"status": 1}
    assert run.counters.failed == 1
    [row] = build.rows(
        db, "SELECT state, attempts, last_error, next_at - clock_timestamp() AS wait FROM provisioning"
    )
    assert (row.state, row.attempts, row.last_error) == ("pending", 1, "status 429")
    assert row.wait > timedelta(seconds=100)
    assert _reconcile(db, provisioner).counters.seen == 0
    _make_due(db)
    assert _reconcile(db, provisioner).counters.done == 1
    assert build.shown(db, id_)["provisioning"]["last_error"] is None


def test_a_cut_answer_is_repeated_with_one_effect(db, service, provisioner):
    build.subscription(db)
    service.faults.plan(Fault(FaultKind.CUT))
    _reconcile(db, provisioner)
    _make_due(db)
    _reconcile(db, provisioner)
    assert [(call["status"], call["effect"]) for call in service.journal] == [(None, True), (200, False)]
    assert _applied(db)


def test_a_refusal_blocks_with_an_alert_until_something_changes(db, service, provisioner):
    id_ = build.subscription(db)
    service.faults.plan(Fault(FaultKind.STATUS, status=404))
    _reconcile(db, provisioner)
    assert service.faults.hits == {"status": 1}
    shown = build.shown(db, id_)["provisioning"]
    assert (shown["state"], shown["desired"]) == ("blocked", "on")
    assert build.rows(db, "SELECT rule, subject FROM alert WHERE resolved_at IS NULL") == [
        ("provisioning_blocked", f"subscription:{id_}")
    ]
    assert _reconcile(db, provisioner).counters.seen == 0
    build.pay(db, id_)
    _reconcile(db, provisioner)
    assert build.shown(db, id_)["provisioning"]["state"] == "in_sync"
    assert not build.rows(db, "SELECT 1 FROM alert WHERE resolved_at IS NULL")


def test_a_provisioner_that_knows_a_higher_generation_is_overtaken(db, service, provisioner):
    id_ = build.subscription(db)
    stale = Account(id_, 7, enabled=False, access_until=None, plan="basic", external_id="x", email=None)
    provisioner.put_account(stale)
    _reconcile(db, provisioner)
    assert service.accounts[id_]["generation"] in {7, 8}
    _reconcile(db, provisioner)
    assert (service.accounts[id_]["generation"], service.accounts[id_]["enabled"]) == (8, True)
    shown = build.shown(db, id_)["provisioning"]
    assert (shown["desired_generation"], shown["applied_generation"], shown["state"]) == (8, 8, "in_sync")


class _Interrupting:
    """A provisioner during whose call something else happens."""

    def __init__(self, inner: HttpProvisioner, act) -> None:
        self.inner, self.act = inner, act

    def put_account(self, account: Account) -> Outcome:
        outcome = self.inner.put_account(account)
        act, self.act = self.act, None
        if act is not None:
            thread = threading.Thread(target=act)
            thread.start()
            thread.join()
        return outcome


def test_a_change_during_the_call_stays_pending_and_follows(db, service, provisioner):
    id_ = build.subscription(db)

    def change() -> None:
        with db.transaction() as session:
            cancel(session, id_, at_period_end=False, actor=SYSTEM)

    _reconcile(db, _Interrupting(provisioner, change))
    _reconcile(db, provisioner)
    assert [(call["generation"], call["enabled"]) for call in service.journal] == [(1, True), (2, False)]
    assert _applied(db)


def test_locks_of_an_iteration_that_ended_hold_nobody_back(db, service, provisioner):
    build.subscription(db)
    dead = build.run(db, "activation")
    with dead.transaction() as session:
        reconcile._claim(session, dead.iteration_id, "lck_dead", size=8, lowest=9)
    assert build.rows(db, "SELECT 1 FROM provisioning WHERE locked_by = :id", id=dead.iteration_id)
    assert _reconcile(db, provisioner).counters.done == 1


def test_an_iteration_that_was_ended_meanwhile_writes_nothing_and_the_next_repeats(db, service, provisioner):
    from tenure.errors import IterationOver

    build.subscription(db)
    run = build.run(db, "activation")
    with pytest.raises(IterationOver):
        reconcile.run(run, _Interrupting(provisioner, lambda: build.end_runs(db, "activation")))
    assert not _applied(db)
    _reconcile(db, provisioner)
    assert [call["effect"] for call in service.journal] == [True, False]
    assert _applied(db)


def _bulk(db: Database, count: int) -> None:
    """As an import leaves them: pending, with the lowest priority."""
    id_ = build.subscription(db)
    with db.transaction() as session:
        session.execute(
            text("""
                INSERT INTO subscription (id, customer_id, plan_code, plan_snapshot, grace_hours, status,
                    anchor_at, anchor_no, period_no, period_start, period_end, grace_until)
                SELECT tenure_id('sub'), customer_id, plan_code, plan_snapshot, grace_hours, status,
                       anchor_at, 1, 1, period_start, period_end, grace_until
                FROM subscription, generate_series(1, :count) WHERE id = :id
            """),
            {"id": id_, "count": count},
        )
        session.execute(
            text("""
                INSERT INTO provisioning (subscription_id, plan_code, external_id, enabled, access_until,
                                          desired_generation, state, priority)
                SELECT id, plan_code, id, true, access_until, 1, 'pending', 2 FROM subscription
                ON CONFLICT (subscription_id) DO NOTHING
            """)
        )


class _Crowded:
    """A provisioner that answers everybody's first calls, and then nobody but the payer until it is told."""

    def __init__(self, inner: HttpProvisioner, payer: str) -> None:
        self.inner, self.payer = inner, payer
        self.first = threading.Semaphore(25)
        self.go_on = threading.Event()

    def put_account(self, account: Account) -> Outcome:
        if account.subscription_id != self.payer and not self.first.acquire(blocking=False):
            self.go_on.wait(120)
        return self.inner.put_account(account)


def test_a_payer_does_not_wait_behind_a_mass_of_accounts(db, service, provisioner):
    _bulk(db, 600)
    payer = build.subscription(db, status="incomplete")
    crowded = _Crowded(provisioner, payer)
    run = build.run(db, "activation", soft_s=600)
    job = threading.Thread(target=reconcile.run, args=(run, crowded))
    job.start()
    try:
        until(lambda: len(service.journal) > 20, what="the mass is under way")
        build.pay(db, payer)
        until(lambda: payer in service.accounts, what="the payer's account is on")
        assert len(service.journal) <= 26, "nobody else was answered meanwhile"
    finally:
        crowded.go_on.set()
        job.join()
    assert _applied(db)


def test_a_provisioner_that_is_down_is_not_asked_for_everybody(db, service, provisioner):
    _bulk(db, 300)
    service.faults.plan(Fault(FaultKind.STATUS, times=10_000, status=503))
    _reconcile(db, provisioner)
    assert 20 <= service.faults.hits["status"] < 100
    service.faults.clear()
    _make_due(db)
    _reconcile(db, provisioner)
    assert _applied(db)


def test_in_the_race_of_payment_and_expiry_no_payer_is_off_at_the_end(
    db, service, provisioner: HttpProvisioner
):
    """Half of 200 pay within milliseconds of their expiry, while every fourth call fails."""
    build.plan(db, grace_hours=0)
    ids = [build.subscription(db) for _ in range(200)]
    payers = ids[::2]
    _reconcile(db, provisioner)
    build.advance_to(db, build.moment(db, ids[-1], "period_end"))
    service.faults.clear()
    stop = threading.Event()
    asked = [0]

    class Flaky:
        """Every fourth call fails at the service."""

        def put_account(self, account: Account) -> Outcome:
            asked[0] += 1
            if asked[0] % 4 == 0:
                service.faults.plan(Fault(FaultKind.STATUS, status=503, target=account.subscription_id))
            return provisioner.put_account(account)

    def keep_reconciling() -> None:
        while not stop.is_set():
            _make_due(db)
            _reconcile(db, Flaky())

    reconciling = threading.Thread(target=keep_reconciling)
    expiring = threading.Thread(target=expire_due.run, args=(build.run(db, "expiry", batch=20),))
    paying = [
        threading.Thread(target=lambda part=payers[number::2]: [build.pay(db, id_) for id_ in part])
        for number in range(2)
    ]
    for thread in (reconciling, *paying, expiring):
        thread.start()
    for thread in (*paying, expiring):
        thread.join()
    expire_due.run(build.run(db, "expiry"))
    # However slowly it went until here: more is left to ask for than this, or it was asked for.
    until(lambda: service.faults.hits.get("status", 0) > 10, 60, what="calls did fail")
    stop.set()
    reconciling.join()
    service.faults.clear()
    _make_due(db)
    _reconcile(db, provisioner)
    assert _applied(db)
    for id_ in ids:
        assert service.accounts[id_]["enabled"] is (id_ in payers)
        assert service.accounts[id_]["access_until"] == build.shown(db, id_)["access_until"]
