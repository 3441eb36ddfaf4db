"""Plans: what is sold, and how its end is announced."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from tenure.accounts.principal import Role
from tenure.errors import FieldError, Invalid
from tenure.plans import queries
from tenure.plans.change import change
from tenure.plans.create import create
from tenure.plans.rules import Stage, Terms
from web.body import Body
from web.route import Call, Page, Routes
from web.version import Versioned

routes = Routes("Plans")
PLAN = Versioned(
    read=lambda call, code: queries.plan_by_code(call.session, code),
    locks=("SELECT 1 FROM plan WHERE code = :code FOR UPDATE",),
    fields=("id", "version"),
)

# Wide enough for every valid value; the rules of plans name the exact bounds.
_MOST = 10**18


class Price(Body):
    """Money in minor units."""

    amount_minor: int = Field(ge=-_MOST, le=_MOST)
    currency: str = Field(max_length=16)


class Interval(Body):
    """The length of a period."""

    unit: str = Field(max_length=16, description="day, week, month or year")
    count: int = Field(ge=-_MOST, le=_MOST)


class ReminderStage(Body):
    """One reminder; a negative offset is before the end."""

    stage: str = Field(max_length=200)
    offset_hours: int = Field(ge=-_MOST, le=_MOST, description="-720 to 720")
    channels: list[str] = Field(max_length=10, description="email, telegram, webhook")


class NewPlan(Body):
    """A plan."""

    code: str = Field(max_length=200)
    name: str = Field(max_length=1000)
    price: Price
    interval: Interval
    trial_days: int = Field(default=0, ge=-_MOST, le=_MOST)
    grace_hours: int = Field(default=0, ge=-_MOST, le=_MOST)
    reminders: list[ReminderStage] = Field(default=[], max_length=100)
    auto_renew: bool = False


class ChangedPlan(Body):
    """What to change; what is left out stays. Running subscriptions keep what was sold."""

    name: str | None = Field(default=None, max_length=1000)
    price: Price | None = None
    interval: Interval | None = None
    trial_days: int | None = Field(default=None, ge=-_MOST, le=_MOST)
    grace_hours: int | None = Field(default=None, ge=-_MOST, le=_MOST)
    reminders: list[ReminderStage] | None = Field(default=None, max_length=100)
    auto_renew: bool | None = None


@routes.get("/plans", query=Page, summary="List plans")
def list_plans(call: Call, query: Page) -> dict[str, Any]:
    return queries.plans(call.session, limit=query.limit, cursor=query.cursor)


@routes.get("/plans/{code}", versioned=PLAN, summary="One plan")
def show_plan(call: Call, code: str) -> dict[str, Any]:
    return queries.plan_by_code(call.session, code)


@routes.post("/plans", role=Role.ADMIN, body=NewPlan, status=201, summary="Create a plan")
def create_plan(call: Call, body: NewPlan) -> dict[str, Any]:
    return create(call.session, code=body.code, terms=Terms(**_flat(body)), actor=call.actor)


@routes.patch(
    "/plans/{code}", role=Role.ADMIN, body=ChangedPlan, versioned=PLAN, summary="Change a plan for new sales"
)
def change_plan(call: Call, code: str, body: ChangedPlan) -> dict[str, Any]:
    nulls = [name for name in sorted(body.model_fields_set) if getattr(body, name) is None]
    if nulls:
        raise Invalid(
            "some fields are not valid",
            errors=[FieldError(name, "null", "must not be null") for name in nulls],
        )
    return change(call.session, code=code, changes=_flat(body), actor=call.actor)


def _flat(body: NewPlan | ChangedPlan) -> dict[str, Any]:
    """The given fields under the names of Terms."""
    given = {name: getattr(body, name) for name in body.model_fields_set - {"code"}}
    price, interval = given.pop("price", None), given.pop("interval", None)
    if price is not None:
        given |= {"price_minor": price.amount_minor, "currency": price.currency}
    if interval is not None:
        given |= {"interval_unit": interval.unit, "interval_count": interval.count}
    if "reminders" in given:
        given["reminders"] = tuple(
            Stage(one.stage, one.offset_hours, tuple(one.channels)) for one in given["reminders"]
        )
    return given
