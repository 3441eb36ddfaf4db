"""A subscription that renews by itself is paid from the customer's balance, once."""

from __future__ import annotations

from tenure.chaos.scenarios.story import BY_PROVIDER, PRICE, Story
from tenure.chaos.scenarios.told import Scenario, Told
from tenure.kit.ids import new_id


def pays_too_much(story: Story) -> Told:
    """The customer pays twice the price: one period is paid, the rest is balance."""
    story.subscribe(auto_renew=True)
    story.order(BY_PROVIDER)
    story.tell(new_id("ref"), 2 * PRICE)
    return story.becomes(status="active", invoice="paid", exception="overpaid", balance=PRICE)


def renews(story: Story) -> Told:
    """A day before the end the next period is paid from the balance."""
    story.remembered["end"] = story.subscription()["period_end"]
    story.advance_to(story.remembered["end"], hours=-20)
    return story.becomes(invoices=["paid", "paid"], balance=0)


def goes_on(story: Story) -> Told:
    """At the end the next period begins there; access was never off."""
    story.advance_to(story.remembered["end"])
    return story.becomes(
        status="active", period_start=story.remembered["end"], entitled=True, switches=[True]
    )


def runs_again(story: Story) -> Told:
    """Another run of the renewal finds nothing to do."""
    outcome = story.run("auto_renewal")
    seen = {"outcome": outcome, **story.look("invoices", "balance")}
    return Told({"outcome": "ok", "invoices": ["paid", "paid"], "balance": 0}, seen)


SCENARIO = Scenario(
    "renew-from-balance", (__doc__ or "").rstrip("."), (pays_too_much, renews, goes_on, runs_again)
)
