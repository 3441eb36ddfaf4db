"""Start a subscription: a customer and a plan, with or without trial."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from tenure.audit.record import Actor, record
from tenure.errors import FieldError, Invalid
from tenure.events.append import append, subscription_event
from tenure.kit.ids import new_id
from tenure.model.customer import Customer
from tenure.model.plan import Plan
from tenure.plans.queries import snapshot
from tenure.subscriptions import rules
from tenure.subscriptions.access import Priority, refresh
from tenure.subscriptions.announce import Kind, announce
from tenure.subscriptions.row import facts, insert_columns, period_ref, state_values
from tenure.subscriptions.rules import State, Terms

_INSERT: Final = text(f"""
    INSERT INTO subscription (id, customer_id, plan_code, plan_snapshot, grace_hours, auto_renew, remind_at,
                              {", ".join(insert_columns())})
    VALUES (:id, :customer_id, :plan_code, CAST(:plan_snapshot AS jsonb), :grace_hours, :auto_renew,
            CASE WHEN :has_reminders AND CAST(:period_end AS timestamptz) IS NOT NULL THEN tenure_now() END,
            {", ".join(f":{name}" for name in insert_columns())})
""")
_INSERT_PROVISIONING: Final = text("""
    INSERT INTO provisioning (subscription_id, plan_code, external_id, email)
    VALUES (:id, :plan_code, :external_id, :email)
""")
_NOW: Final = text("SELECT tenure_now()")


@dataclass(frozen=True, slots=True)
class _Sale:
    customer: Customer
    plan: Plan


def start(session: Session, *, customer_id: str, plan_code: str, trial: bool, actor: Actor) -> str:
    """The new subscription's id: `trialing` with access on, or `incomplete` until it is paid.

    Raises Invalid when there is no such customer or plan, or the plan has no trial.
    """
    sale = _sale(session, customer_id, plan_code, trial=trial)
    kept = snapshot(sale.plan)
    terms = Terms.of(kept, sale.customer.timezone)
    state = rules.started(terms, trial=trial, now=session.execute(_NOW).scalar_one())
    id_ = new_id("sub")
    _insert(session, id_, sale, kept, state)
    data = {**facts(state), "customer_id": customer_id, "plan_code": plan_code}
    types = ["subscription.created"] + (["subscription.trial_started"] if trial else [])
    append(session, [subscription_event(type_, id_, data) for type_ in types])
    refresh(session, [id_], priority=Priority.ACT)
    if trial:
        announce(session, subscription_id=id_, kind=Kind.TRIAL_STARTED, ref=period_ref(state))
    record(
        session,
        actor=actor,
        action="subscription.create",
        object_=f"subscription:{id_}",
        after=data,
        subscription_id=id_,
    )
    return id_


def _sale(session: Session, customer_id: str, plan_code: str, *, trial: bool) -> _Sale:
    # Shared, so that a change of the customer comes wholly before or wholly after this account's first state.
    customer = session.get(Customer, customer_id, with_for_update={"read": True})
    plan = session.scalars(select(Plan).where(Plan.code == plan_code)).first()
    problems = []
    if customer is None:
        problems.append(
            FieldError("customer_id", "unknown_customer", f"there is no customer {customer_id!r}")
        )
    if plan is None:
        problems.append(FieldError("plan_code", "unknown_plan", f"there is no plan {plan_code!r}"))
    elif trial and plan.trial_days == 0:
        problems.append(FieldError("trial", "no_trial", f"the plan {plan_code!r} has no trial"))
    if customer is None or plan is None or problems:
        raise Invalid("the subscription is not valid", errors=problems)
    return _Sale(customer, plan)


def _insert(session: Session, id_: str, sale: _Sale, kept: dict[str, Any], state: State) -> None:
    session.execute(
        _INSERT,
        {
            "id": id_,
            "customer_id": sale.customer.id,
            "plan_code": sale.plan.code,
            "plan_snapshot": json.dumps(kept),
            "grace_hours": sale.plan.grace_hours,
            "auto_renew": sale.plan.auto_renew,
            "has_reminders": bool(sale.plan.reminders),
            **state_values(state),
        },
    )
    session.execute(
        _INSERT_PROVISIONING,
        {
            "id": id_,
            "plan_code": sale.plan.code,
            "external_id": sale.customer.external_id,
            "email": sale.customer.email,
        },
    )
