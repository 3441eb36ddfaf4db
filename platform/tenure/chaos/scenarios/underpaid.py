"""Half the price keeps the invoice open; the other half completes it."""

from __future__ import annotations

from typing import Final

from tenure.chaos.scenarios.story import BY_PROVIDER, PRICE, Story
from tenure.chaos.scenarios.told import Scenario, Told
from tenure.kit.ids import new_id

_PART: Final = 400


def pays_a_part(story: Story) -> Told:
    """A part arrives: the invoice stays open and says so, access stays off."""
    story.subscribe()
    story.order(BY_PROVIDER)
    story.tell(new_id("ref"), _PART)
    return story.becomes(
        invoice="open",
        exception="underpaid",
        paid=_PART,
        status="incomplete",
        entitled=False,
        mails=["payment_problem"],
    )


def pays_the_rest(story: Story) -> Told:
    """The rest arrives: the invoice is paid by both, exactly."""
    story.tell(new_id("ref"), PRICE - _PART)
    return story.becomes(
        invoice="paid",
        exception="none",
        paid=PRICE,
        balance=0,
        status="active",
        entitled=True,
        payments=["confirmed matched", "confirmed matched"],
    )


SCENARIO = Scenario("underpaid", (__doc__ or "").rstrip("."), (pays_a_part, pays_the_rest))
