"""A trial that is paid while it lasts becomes a paid period when it ends."""

from __future__ import annotations

from tenure.chaos.scenarios.story import Story
from tenure.chaos.scenarios.told import Scenario, Told


def begins(story: Story) -> Told:
    """A trial begins: access is on, one mail says so."""
    story.subscribe(trial=True, trial_days=7)
    return story.becomes(
        status="trialing", entitled=True, provisioning="in_sync", switches=[True], mails=["trial_started"]
    )


def is_paid(story: Story) -> Told:
    """It is paid in the trial: it stays a trial, and nobody is asked to pay again."""
    story.remembered["end"] = story.subscription()["period_end"]
    story.pay_by_provider()
    return story.becomes(
        invoice="paid",
        status="trialing",
        period_end=story.remembered["end"],
        mails=["payment_confirmed", "trial_started"],
    )


def ends(story: Story) -> Told:
    """At the trial's end the paid period begins there, without a gap."""
    story.advance_to(story.remembered["end"])
    return story.becomes(status="active", period_start=story.remembered["end"], entitled=True)


def was_never_off(story: Story) -> Told:
    """Access was switched on once and never off."""
    story.run("activation")
    return story.stands(switches=[True], mails=["payment_confirmed", "trial_started"])


SCENARIO = Scenario("trial-to-paid", (__doc__ or "").rstrip("."), (begins, is_paid, ends, was_never_off))
