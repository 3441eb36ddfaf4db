"""Who cancels at the period's end is served until then, without grace, and not asked to pay again."""

from __future__ import annotations

from tenure.chaos.scenarios.story import Story
from tenure.chaos.scenarios.told import Scenario, Told


def cancels(story: Story) -> Told:
    """The subscription is canceled at its end: until then nothing changes for the customer."""
    story.subscribe(grace_hours=72, auto_renew=True)
    story.pay_by_provider()
    story.becomes(status="active")
    story.remembered["end"] = story.subscription()["period_end"]
    story.act("cancel", at_period_end=True)
    return story.stands(status="active", entitled=True, cancel_at_period_end=True)


def is_not_billed(story: Story) -> Told:
    """A day before the end no renewal invoice is opened."""
    story.advance_to(story.remembered["end"], hours=-20)
    story.run("auto_renewal")
    return story.stands(invoices=["paid"], status="active")


def ends(story: Story) -> Told:
    """At the end it is canceled and access goes off at once: there is no grace."""
    story.advance_to(story.remembered["end"])
    return story.becomes(status="canceled", entitled=False, switches=[True, False])


def stays_so(story: Story) -> Told:
    """A canceled subscription cannot be resumed."""
    refused = story.refusal("POST", f"/subscriptions/{story.subscription_id}/resume", {})
    return Told({"refused": "illegal_transition"}, {"refused": refused})


SCENARIO = Scenario(
    "cancel-at-period-end", (__doc__ or "").rstrip("."), (cancels, is_not_billed, ends, stays_so)
)
