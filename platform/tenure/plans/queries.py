"""Plans as the API shows them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from tenure.errors import NotFound
from tenure.kit.times import rfc3339
from tenure.model.plan import Plan


def as_dict(plan: Plan) -> dict[str, Any]:
    """One plan in the shape of the API."""
    return {
        "id": plan.id,
        "code": plan.code,
        "name": plan.name,
        "price": {"amount_minor": plan.price_minor, "currency": plan.currency},
        "interval": {"unit": plan.interval_unit, "count": plan.interval_count},
        "trial_days": plan.trial_days,
        "grace_hours": plan.grace_hours,
        "reminders": list(plan.reminders),
        "auto_renew": plan.auto_renew,
        "version": plan.version,
        "created_at": rfc3339(plan.created_at),
    }


def snapshot(plan: Plan) -> dict[str, Any]:
    """What a subscription keeps of the plan that was sold."""
    kept = as_dict(plan)
    return {name: value for name, value in kept.items() if name not in {"id", "created_at"}}


def plan_by_code(session: Session, code: str) -> dict[str, Any]:
    """One plan. Raises NotFound."""
    plan = session.scalars(select(Plan).where(Plan.code == code)).first()
    if plan is None:
        raise NotFound(f"there is no plan {code!r}")
    return as_dict(plan)


def plans(session: Session, *, limit: int, cursor: str | None = None) -> dict[str, Any]:
    """A page of plans, newest first."""
    query = select(Plan).order_by(Plan.id.desc()).limit(limit + 1)
    if cursor:
        query = query.where(Plan.id < cursor)
    found = session.scalars(query).all()
    more = len(found) > limit
    return {
        "items": [as_dict(plan) for plan in found[:limit]],
        "next_cursor": found[limit - 1].id if more else None,
    }
