"""Nobody pays: each reminder comes once, then grace, then the end, and access is off."""

from __future__ import annotations

from typing import Final

from tenure.chaos.scenarios.story import Story
from tenure.chaos.scenarios.told import Scenario, Told

_GRACE_H: Final = 72
_STAGES: Final = [
    {"stage": "week", "offset_hours": -168, "channels": ["email"]},
    {"stage": "day", "offset_hours": -24, "channels": ["email"]},
    {"stage": "missed", "offset_hours": 24, "channels": ["email"]},
]


def is_active(story: Story) -> Told:
    """A paid subscription without automatic renewal."""
    story.subscribe(grace_hours=_GRACE_H, reminders=_STAGES)
    story.pay_by_provider()
    told = story.becomes(status="active", switches=[True], mails=["payment_confirmed"])
    story.remembered["end"] = story.subscription()["period_end"]
    return told


def a_week_before(story: Story) -> Told:
    """A week before the end the first reminder goes out."""
    story.advance_to(story.remembered["end"], hours=-160)
    return story.becomes(status="active", mails=["payment_confirmed", "period_ending/week"])


def a_day_before(story: Story) -> Told:
    """A day before the end the second one."""
    story.advance_to(story.remembered["end"], hours=-20)
    return story.becomes(mails=["payment_confirmed", "period_ending/day", "period_ending/week"])


def grace(story: Story) -> Told:
    """After the end the grace period begins: access stays on."""
    story.advance_to(story.remembered["end"], hours=1)
    return story.becomes(status="past_due", entitled=True, switches=[True])


def is_dunned(story: Story) -> Told:
    """In the grace period one notice of the missing payment."""
    story.advance_to(story.remembered["end"], hours=25)
    return story.becomes(
        status="past_due",
        mails=["past_due/missed", "payment_confirmed", "period_ending/day", "period_ending/week"],
    )


def the_end(story: Story) -> Told:
    """When grace is over the subscription expires and access goes off."""
    story.advance_to(story.remembered["end"], hours=_GRACE_H)
    return story.becomes(status="expired", entitled=False, switches=[True, False])


def nothing_twice(story: Story) -> Told:
    """Another run of every job sends and switches nothing more."""
    for job in ("reminders", "expiry", "notices", "activation"):
        story.run(job)
    return story.becomes(
        switches=[True, False],
        mails=["expired", "past_due/missed", "payment_confirmed", "period_ending/day", "period_ending/week"],
    )


SCENARIO = Scenario(
    "reminder-then-grace-then-expiry",
    (__doc__ or "").rstrip("."),
    (is_active, a_week_before, a_day_before, grace, is_dunned, the_end, nothing_twice),
)
