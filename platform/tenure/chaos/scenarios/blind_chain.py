"""While the chain cannot be seen, nobody who may have paid through it loses access."""

from __future__ import annotations

from typing import Final

from tenure.chaos.scenarios.story import ON_CHAIN, Story
from tenure.chaos.scenarios.told import Scenario, Told
from tenure.standins import token
from tenure.standins.faults import Fault, FaultKind
from tenure.standins.ledger import Move

_ALWAYS: Final = 1_000_000


def waits_for_payment(story: Story) -> Told:
    """A subscription nears its end with an open invoice that is payable on the chain."""
    story.subscribe()
    story.pay_by_provider()
    story.becomes(status="active", switches=[True])
    story.remembered["end"] = story.subscription()["period_end"]
    story.advance_to(story.remembered["end"], hours=-2)
    story.order(ON_CHAIN)
    return story.stands(status="active", invoice="open")


def is_blind(story: Story) -> Told:
    """The chain's node fails, and an alert says that it cannot be read."""
    story.stack.outside.chain.faults.plan(Fault(FaultKind.STATUS, status=503, times=_ALWAYS))
    return story.awaits({"alert": True}, lambda: {"alert": _alerted(story)})


def pays_unseen(story: Story) -> Told:
    """The customer pays in time, and nobody can see it."""
    quote = story.invoice()["quote"]
    # Past the node's door, which is shut: the chain itself goes on.
    move = Move(token.ADDRESS, quote["address"].lower(), int(quote["amount_units"]))
    story.stack.outside.chain.ledger.submit([move])
    return story.stands(payments=[], invoice="open")


def keeps_access(story: Story) -> Told:
    """The end passes: nobody is expired while blind, access stays on."""
    story.advance_to(story.remembered["end"], hours=3)
    for _ in range(2):
        story.run("expiry")
    return story.stands(entitled=True, switches=[True])


def sees_again(story: Story) -> Told:
    """The node answers again: the payment is found, and the subscription was never off."""
    story.stack.outside.chain.faults.clear()
    return story.becomes(
        invoice="paid", status="active", entitled=True, period_start=story.remembered["end"], switches=[True]
    )


def _alerted(story: Story) -> bool:
    alerts = story.stack.api("GET", "/alerts?limit=200")["items"]
    return any(alert["rule"] == "chain_unreachable" and alert["resolved_at"] is None for alert in alerts)


SCENARIO = Scenario(
    "blind-chain-keeps-access",
    (__doc__ or "").rstrip("."),
    (waits_for_payment, is_blind, pays_unseen, keeps_access, sees_again),
)
