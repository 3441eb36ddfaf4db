"""Create a plan."""

from __future__ import annotations

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from tenure.audit.record import Actor, record
from tenure.errors import Conflict, Invalid
from tenure.kit.ids import new_id
from tenure.model.plan import Plan
from tenure.plans.queries import plan_by_code
from tenure.plans.rules import Terms, problems


def create(session: Session, *, code: str, terms: Terms, actor: Actor) -> dict[str, object]:
    """The new plan. Raises Invalid with every problem, Conflict when the code is taken."""
    found = problems(code, terms)
    if found:
        raise Invalid("the plan is not valid", errors=found)
    added = session.execute(
        insert(Plan)
        .values(
            id=new_id("plan"),
            code=code,
            name=terms.name.strip(),
            price_minor=terms.price_minor,
            currency=terms.currency,
            interval_unit=terms.interval_unit,
            interval_count=terms.interval_count,
            trial_days=terms.trial_days,
            grace_hours=terms.grace_hours,
            reminders=[stage.as_dict() for stage in terms.reminders],
            auto_renew=terms.auto_renew,
        )
        .on_conflict_do_nothing(index_elements=[Plan.code])
        .returning(Plan.id)
    ).first()
    if added is None:
        raise Conflict(f"there is a plan {code!r} already", code="exists")
    plan = plan_by_code(session, code)
    record(session, actor=actor, action="plan.create", object_=f"plan:{code}", after=plan)
    return plan
