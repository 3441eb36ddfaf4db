"""Change a plan: for subscriptions that start from now on. Those that run keep what was sold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from tenure.audit.record import Actor, record
from tenure.errors import Invalid, NotFound
from tenure.model.plan import Plan
from tenure.plans.queries import as_dict
from tenure.plans.rules import Stage, Terms, problems


def change(session: Session, *, code: str, changes: Mapping[str, Any], actor: Actor) -> dict[str, object]:
    """The changed plan in the shape of the API. `changes` names fields of Terms.

    Raises NotFound, and Invalid with every problem. The same values again change nothing.
    """
    plan = session.scalars(select(Plan).where(Plan.code == code).with_for_update()).first()
    if plan is None:
        raise NotFound(f"there is no plan {code!r}")
    before = as_dict(plan)
    old = _terms(plan)
    terms = replace(old, **changes)
    found = problems(code, terms)
    if found:
        raise Invalid("the plan is not valid", errors=found)
    if terms == old:
        return before
    for name in Terms.__dataclass_fields__:
        value = getattr(terms, name)
        setattr(plan, name, [stage.as_dict() for stage in value] if name == "reminders" else value)
    plan.version += 1
    session.flush()
    after = as_dict(plan)
    record(session, actor=actor, action="plan.change", object_=f"plan:{code}", before=before, after=after)
    return after


def _terms(plan: Plan) -> Terms:
    stages = tuple(Stage(one["stage"], one["offset_hours"], tuple(one["channels"])) for one in plan.reminders)
    values = {name: getattr(plan, name) for name in Terms.__dataclass_fields__ if name != "reminders"}
    return Terms(reminders=stages, **values)
