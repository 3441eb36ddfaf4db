"""What is paid beyond the price is not lost: it is the customer's balance."""

from __future__ import annotations

from typing import Final

from tenure.chaos.scenarios.story import BY_PROVIDER, PRICE, Story
from tenure.chaos.scenarios.told import Scenario, Told
from tenure.kit.ids import new_id

_TIP: Final = 123


def pays_too_much(story: Story) -> Told:
    """More than the price arrives: one period is paid, the rest stays on the balance."""
    story.subscribe()
    story.order(BY_PROVIDER)
    story.tell(new_id("ref"), PRICE + _TIP)
    return story.becomes(invoice="paid", exception="overpaid", status="active", balance=_TIP)


def pays_again(story: Story) -> Told:
    """Money for an invoice that is paid already goes to the balance and gives no second period."""
    story.remembered["end"] = story.subscription()["period_end"]
    story.tell(new_id("ref"), PRICE)
    return story.becomes(
        balance=_TIP + PRICE, exception="overpaid", period_end=story.remembered["end"], invoices=["paid"]
    )


SCENARIO = Scenario("overpaid", (__doc__ or "").rstrip("."), (pays_too_much, pays_again))
