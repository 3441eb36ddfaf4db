"""A transfer on the chain is seen, confirmed block by block, and switches access on."""

from __future__ import annotations

from tenure.chaos.scenarios.story import ON_CHAIN, Story
from tenure.chaos.scenarios.told import Scenario, Told


def is_ordered(story: Story) -> Told:
    """An invoice names an address and an amount of its own; asking again gives the same one."""
    story.subscribe()
    first = story.order(ON_CHAIN)
    again = story.order(ON_CHAIN)
    seen = {"same": again["id"] == first["id"], **story.look("status", "invoice", "entitled")}
    return Told({"same": True, "status": "incomplete", "invoice": "open", "entitled": False}, seen)


def is_confirmed(story: Story) -> Told:
    """The exact amount is transferred: after the required blocks the invoice is paid."""
    story.transfer()
    told = story.becomes(invoice="paid", exception="none", payments=["confirmed matched"])
    confirmations = story.invoice()["confirmations"]
    deep = confirmations["seen"] >= confirmations["required"] > 1
    return Told({**told.expected, "deep_enough": True}, {**told.seen, "deep_enough": deep})


def is_served(story: Story) -> Told:
    """Access is on at the provisioner, and one mail confirms the payment."""
    return story.becomes(
        status="active", entitled=True, provisioning="in_sync", switches=[True], mails=["payment_confirmed"]
    )


def can_be_explained(story: Story) -> Told:
    """The timeline names the iteration that activated it, and that iteration ended well."""
    timeline = story.stack.api("GET", f"/subscriptions/{story.subscription_id}/timeline")["items"]
    (by,) = [entry["iteration_id"] for entry in timeline if entry["type"] == "subscription.activated"]
    iteration = story.stack.api("GET", f"/iterations/{by}")
    return Told(
        {"job": "payment_watcher", "outcome": "ok"},
        {"job": iteration["job"], "outcome": iteration["outcome"]},
    )


SCENARIO = Scenario(
    "payment-on-chain",
    (__doc__ or "").rstrip("."),
    (is_ordered, is_confirmed, is_served, can_be_explained),
)
