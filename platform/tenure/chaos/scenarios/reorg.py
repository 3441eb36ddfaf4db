"""The chain rewrites its past: a payment that comes back counts once, one that does not is taken back."""

from __future__ import annotations

from tenure.chaos.scenarios.story import ON_CHAIN, PRICE, Story
from tenure.chaos.scenarios.told import Scenario, Told


def pays(story: Story) -> Told:
    """A payment on the chain is confirmed and pays the period."""
    story.subscribe()
    story.order(ON_CHAIN)
    story.transfer()
    return story.becomes(invoice="paid", status="active", payments=["confirmed matched"], balance=0)


def comes_back(story: Story) -> Told:
    """Its blocks are replaced and it lies elsewhere in the new ones: nothing is credited twice."""
    story.reorganize(keep=True)
    story.run("payment_watcher")
    return story.becomes(
        invoice="paid", exception="none", status="active", payments=["confirmed matched"], balance=0
    )


def vanishes(story: Story) -> Told:
    """The blocks are replaced once more, and the payment is gone: it is reversed, and a person is asked."""
    story.reorganize(keep=False)
    told = story.becomes(exception="reversed", payments=["reversed matched"], balance=-PRICE)
    alerts = story.stack.api("GET", "/alerts?limit=200")["items"]
    asked = any(alert["rule"] == "payment_reversed" for alert in alerts)
    return Told({**told.expected, "asked": True}, {**told.seen, "asked": asked})


def keeps_access(story: Story) -> Told:
    """Access is not taken away by itself: whoever paid in good faith is served while people look."""
    story.run("expiry")
    return story.stands(status="active", entitled=True, switches=[True])


SCENARIO = Scenario("reorg", (__doc__ or "").rstrip("."), (pays, comes_back, vanishes, keeps_access))
