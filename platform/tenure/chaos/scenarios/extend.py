"""Support gives a customer some days: the end moves, the old one passes unnoticed."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from tenure.chaos.scenarios.story import Story
from tenure.chaos.scenarios.told import Scenario, Told
from tenure.kit.times import rfc3339

_HOURS: Final = 48


def is_extended(story: Story) -> Told:
    """An operator extends the period by two days and says why."""
    story.subscribe()
    story.pay_by_provider()
    story.becomes(status="active", switches=[True])
    end = datetime.fromisoformat(story.subscription()["period_end"])
    story.remembered |= {"old": rfc3339(end), "new": rfc3339(end + timedelta(hours=_HOURS))}
    story.act("extend", hours=_HOURS, reason="we were slow to answer")
    return story.stands(status="active", period_end=story.remembered["new"])


def outlives_the_old_end(story: Story) -> Told:
    """At the old end nothing happens."""
    story.advance_to(story.remembered["old"], hours=1)
    story.run("expiry")
    return story.stands(status="active", entitled=True, switches=[True])


def ends(story: Story) -> Told:
    """At the new end it expires."""
    story.advance_to(story.remembered["new"])
    return story.becomes(status="expired", entitled=False, switches=[True, False])


def says_who(story: Story) -> Told:
    """The timeline keeps the reason."""
    timeline = story.stack.api("GET", f"/subscriptions/{story.subscription_id}/timeline")["items"]
    reasons = [entry["data"].get("reason") for entry in timeline if entry["type"] == "subscription.extended"]
    return Told({"reasons": ["we were slow to answer"]}, {"reasons": reasons})


SCENARIO = Scenario(
    "extend", (__doc__ or "").rstrip("."), (is_extended, outlives_the_old_end, ends, says_who)
)
