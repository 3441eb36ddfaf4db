"""A payment that comes after the end still counts: the subscription lives again from then on."""

from __future__ import annotations

from tenure.chaos.scenarios.story import ON_CHAIN, Story
from tenure.chaos.scenarios.told import Scenario, Told


def is_asked(story: Story) -> Told:
    """A paid subscription nears its end, and the customer orders the next period."""
    story.subscribe()
    story.pay_by_provider()
    told = story.becomes(status="active")
    story.remembered["end"] = story.subscription()["period_end"]
    story.advance_to(story.remembered["end"], hours=-30)
    story.order(ON_CHAIN)
    return told


def ends(story: Story) -> Told:
    """Nobody pays: the subscription expires, and so does the invoice."""
    story.advance_to(story.remembered["end"], hours=48)
    return story.becomes(status="expired", entitled=False, invoice="expired", switches=[True, False])


def pays_late(story: Story) -> Told:
    """Two days late the amount arrives: the invoice is paid, marked as late, and access is on again."""
    story.transfer()
    return story.becomes(
        invoice="paid", exception="late", status="active", entitled=True, switches=[True, False, True]
    )


def begins_now(story: Story) -> Told:
    """The new period begins with the payment, not at the old end."""
    later = story.subscription()["period_start"] > story.remembered["end"]
    return Told(
        {"begins_after_the_old_end": True, "balance": 0},
        {"begins_after_the_old_end": later, **story.look("balance")},
    )


SCENARIO = Scenario(
    "late-payment-after-expiry", (__doc__ or "").rstrip("."), (is_asked, ends, pays_late, begins_now)
)
