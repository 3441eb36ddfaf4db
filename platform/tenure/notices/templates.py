"""What notices say, in plain words: short plain text with the plan's name, dates and amounts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from tenure.kit.money import Money


@dataclass(frozen=True, slots=True)
class Subject:
    """What a notice is about, as it stands when the notice is sent."""

    kind: str
    plan: Mapping[str, Any]
    timezone: str
    period_end: datetime | None
    grace_until: datetime | None
    is_trial: bool
    cancel_at_period_end: bool
    data: Mapping[str, Any]

    def at(self, moment: datetime | None) -> str:
        """The moment in the customer's own time."""
        if moment is None:
            return "an unknown time"
        local = moment.astimezone(ZoneInfo(self.timezone))
        return f"{local.day} {local:%B %Y, %H:%M} ({self.timezone})"

    @property
    def name(self) -> str:
        return str(self.plan["name"])

    @property
    def price(self) -> str:
        return str(Money(self.plan["price"]["amount_minor"], self.plan["price"]["currency"]))


@dataclass(frozen=True, slots=True)
class Text:
    """A subject line and a body."""

    subject: str
    body: str


def _trial_started(about: Subject) -> Text:
    return Text(
        f"Your trial of {about.name} has begun",
        f"Your trial of {about.name} runs until {about.at(about.period_end)}.\n\n"
        f"To keep your access after that, pay {about.price}.",
    )


def _trial_ending(about: Subject) -> Text:
    return Text(
        f"Your trial of {about.name} ends soon",
        f"Your trial of {about.name} ends on {about.at(about.period_end)}.\n\n"
        f"To keep your access, pay {about.price} before then.",
    )


def _period_ending(about: Subject) -> Text:
    if about.cancel_at_period_end:
        return Text(
            f"{about.name} ends soon",
            f"As you asked, your subscription to {about.name} ends on {about.at(about.period_end)} "
            f"and is not renewed.",
        )
    number = about.data.get("number")
    invoice = f"\n\nThe invoice {number} is open for it." if number else ""
    return Text(
        f"{about.name}: your period ends soon",
        f"Your paid period of {about.name} ends on {about.at(about.period_end)}.\n\n"
        f"To go on without a break, pay {about.price} before then.{invoice}",
    )


def _past_due(about: Subject) -> Text:
    return Text(
        f"{about.name}: payment is missing",
        f"Your period of {about.name} ended on {about.at(about.period_end)} and no payment has arrived.\n\n"
        f"Your access stays on until {about.at(about.grace_until)}. To keep it, pay {about.price}.",
    )


def _expired(about: Subject) -> Text:
    return Text(
        f"{about.name} has ended",
        f"Your access to {about.name} is off, because no payment arrived.\n\n"
        f"You can return at any time: pay {about.price}, and a new period begins at once.",
    )


def _payment_confirmed(about: Subject) -> Text:
    amount = _amount(about)
    thanks = f"We have received your payment of {amount}." if amount else "We have received your payment."
    # Paid in the trial, the paid period begins when the trial ends.
    until = "" if about.is_trial else f"\n\nIt is paid until {about.at(about.period_end)}."
    return Text(
        f"{about.name}: your payment has arrived", f"{thanks} Thank you.\n\nPlan: {about.name}{until}"
    )


def _payment_problem(about: Subject) -> Text:
    amount = _amount(about)
    what = f"your payment of {amount}" if amount else "a payment"
    why = _PROBLEMS.get(str(about.data.get("exception")), "It could not be matched to what was asked for.")
    return Text(
        f"{about.name}: a problem with your payment",
        f"There is a problem with {what} for {about.name}.\n\n{why} Nothing is lost: we look at it.",
    )


_PROBLEMS: Final = {
    "underpaid": "It is less than what was asked for: please pay the rest.",
    "late": "It came after the invoice had ended.",
}


def _amount(about: Subject) -> str | None:
    amount = about.data.get("amount")
    if not isinstance(amount, Mapping):
        return None
    return str(Money(int(amount["amount_minor"]), str(amount["currency"])))


_TEMPLATES: Final = {
    "trial_started": _trial_started,
    "trial_ending": _trial_ending,
    "period_ending": _period_ending,
    "past_due": _past_due,
    "expired": _expired,
    "payment_confirmed": _payment_confirmed,
    "payment_problem": _payment_problem,
}


def written(about: Subject) -> Text:
    """The text of a notice of this kind."""
    text = _TEMPLATES[about.kind](about)
    # A line end in a plan's name must not become a header.
    return Text(" ".join(text.subject.split()), text.body + "\n")
