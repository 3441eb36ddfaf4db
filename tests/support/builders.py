"""Worlds for tests, built by the product's own verbs: a plan, a customer, a subscription in any state."""

from __future__ import annotations

import itertools
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text

from tenure.audit.record import SYSTEM
from tenure.customers.create import create as create_customer
from tenure.customers.rules import Details
from tenure.events import order
from tenure.iterations.run import Run
from tenure.kit.db import Database
from tenure.kit.ids import new_id
from tenure.plans.create import create as create_plan
from tenure.plans.rules import Stage, Terms
from tenure.subscriptions import expire_due, queries, sandbox_clock
from tenure.subscriptions.cancel import cancel
from tenure.subscriptions.credit_period import CreditedPeriod, credit_period
from tenure.subscriptions.pause import pause
from tenure.subscriptions.start import start

_numbers = itertools.count(1)

STAGES = (
    Stage("d-3", -72, ("email",)),
    Stage("d-1", -24, ("email",)),
    Stage("d0", 0, ("email",)),
    Stage("d+1", 24, ("email",)),
)


def plan(db: Database, code: str = "basic", **terms: Any) -> str:
    """A monthly plan with a trial of 7 days, 48 h of grace and no reminders, unless told otherwise."""
    given = {
        "name": "Basic",
        "price_minor": 999,
        "currency": "USD",
        "interval_unit": "month",
        "interval_count": 1,
        "trial_days": 7,
        "grace_hours": 48,
        **terms,
    }
    with db.transaction() as session:
        create_plan(session, code=code, terms=Terms(**given), actor=SYSTEM)
    return code


def customer(db: Database, **details: Any) -> str:
    """A customer with an e-mail address."""
    number = next(_numbers)
    given = {"external_id": f"ext-{number}", "email": f"someone{number}@example.test", **details}
    with db.transaction() as session:
        created: str = create_customer(session, Details(**given), actor=SYSTEM)["id"]
    return created


def subscription(
    db: Database, *, status: str = "active", plan_code: str | None = None, customer_id: str | None = None
) -> str:
    """A subscription that came into this state now (`past_due` and `expired` move domain time)."""
    if plan_code is None:
        with db.transaction() as session:
            known = session.execute(text("SELECT code FROM plan ORDER BY id LIMIT 1")).scalar()
        plan_code = known or plan(db)
    customer_id = customer_id or customer(db)
    with db.transaction() as session:
        id_ = start(
            session, customer_id=customer_id, plan_code=plan_code, trial=status == "trialing", actor=SYSTEM
        )
    if status not in {"incomplete", "trialing"}:
        pay(db, id_)
    if status == "paused":
        with db.transaction() as session:
            pause(session, id_, actor=SYSTEM)
    if status == "canceled":
        with db.transaction() as session:
            cancel(session, id_, at_period_end=False, actor=SYSTEM)
    if status in {"past_due", "expired"}:
        field = "period_end" if status == "past_due" else "access_until"
        advance_to(db, moment(db, id_, field))
        expire_due.run(run(db, "expiry"))
    assert shown(db, id_)["status"] == status
    return id_


def pay(db: Database, subscription_id: str) -> CreditedPeriod:
    with db.transaction() as session:
        return credit_period(session, subscription_id=subscription_id, invoice_id=new_id("inv"))


def shown(db: Database, subscription_id: str) -> dict[str, Any]:
    """The subscription as the API shows it."""
    with db.transaction() as session:
        return queries.subscription(session, subscription_id)


def moment(db: Database, subscription_id: str, field: str) -> datetime:
    return datetime.fromisoformat(shown(db, subscription_id)[field])


def now(db: Database) -> datetime:
    """Domain time."""
    with db.transaction() as session:
        found: datetime = session.execute(text("SELECT tenure_now()")).scalar_one()
        return found


def advance(db: Database, by: timedelta) -> None:
    with db.transaction() as session:
        sandbox_clock.advance(session, by, actor=SYSTEM)


def advance_to(db: Database, target: datetime) -> None:
    """Domain time is the target or a moment later."""
    behind = target - now(db)
    if behind > timedelta(0):
        advance(db, behind + timedelta(milliseconds=1))


def run(db: Database, job: str, *, batch: int = 1000, soft_s: float = 60) -> Run:
    """An open iteration of the job, as the ledger would have started it."""
    slot_id, iteration_id = new_id("slt"), new_id("itr")
    with db.transaction() as session:
        end_runs(db, job, session=session)
        session.execute(
            text("""
                INSERT INTO slot (id, job, due_at, origin, state, expires_at)
                VALUES (:slot, :job, clock_timestamp(), 'run', 'started', now() + interval '1 min')
            """),
            {"slot": slot_id, "job": job},
        )
        session.execute(
            text("""
                INSERT INTO iteration (id, slot_id, job, scope, due_at, attempt, owner, node_id, worker, pid,
                                       deadline_at)
                VALUES (:id, :slot, :job, '', clock_timestamp(), 1, :id, 'test', 'test@here', 1,
                        clock_timestamp() + interval '5 min')
            """),
            {"id": iteration_id, "slot": slot_id, "job": job},
        )
    return Run(iteration_id=iteration_id, job=job, scope="", db=db, soft_s=soft_s, batch=batch)


def end_runs(db: Database, job: str, *, session: Any = None) -> None:
    """Whatever runs of the job are open are over."""
    statement = text("""
        UPDATE iteration SET ended_at = clock_timestamp(), outcome = 'ok', ended_by = 'child'
        WHERE job = :job AND ended_at IS NULL
    """)
    if session is not None:
        session.execute(statement, {"job": job})
        return
    with db.transaction() as own:
        own.execute(statement, {"job": job})


def rows(db: Database, sql: str, **parameters: Any) -> list[Any]:
    """What a query finds."""
    with db.transaction() as session:
        return list(session.execute(text(sql), parameters).all())


def give_places(db: Database) -> None:
    """Number the events that are committed, as a relay does; one that runs is not needed."""
    with db.transaction() as session:
        order.lead(session, holder="test", lease_s=1)
        while order.number_pending(session):
            continue
