"""A payment provider repeats itself: the same message, or the same payment in another one, counts once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Final

from tenure.chaos.outside import PROVIDER
from tenure.chaos.scenarios.story import BY_PROVIDER, PRICE, Story
from tenure.chaos.scenarios.told import Scenario, Told
from tenure.kit.http import ErrorAnswer
from tenure.kit.ids import new_id

_TIMES: Final = 20


def repeats_itself(story: Story) -> Told:
    """Twenty deliveries of one message at once: it is stored once, and each is answered with 200."""
    story.subscribe()
    story.order(BY_PROVIDER)
    story.remembered |= {"ref": new_id("ref"), "message": new_id("msg")}
    with ThreadPoolExecutor(8) as posts:
        answers = list(
            posts.map(
                lambda _: story.tell(story.remembered["ref"], PRICE, message_id=story.remembered["message"]),
                range(_TIMES),
            )
        )
    known = sum(bool(answer.get("duplicate")) for answer in answers)
    return Told({"stored": 1, "duplicates": _TIMES - 1}, {"stored": _TIMES - known, "duplicates": known})


def counts_once(story: Story) -> Told:
    """It is credited once."""
    return story.becomes(invoice="paid", exception="none", payments=["confirmed matched"], balance=0)


def says_it_anew(story: Story) -> Told:
    """The same payment under another message id changes nothing."""
    story.tell(story.remembered["ref"], PRICE)
    story.run("payment_watcher")
    return story.stands(payments=["confirmed matched"], exception="none", balance=0, paid=PRICE)


def is_forged(story: Story) -> Told:
    """A message with a forged signature is refused and changes nothing."""
    body, headers = story.stack.outside.signed(
        new_id("msg"),
        {
            "type": "payment.confirmed",
            "invoice_id": story.invoice_id,
            "provider_ref": new_id("ref"),
            "amount_minor": PRICE,
            "currency": "USD",
        },
    )
    try:
        status = story.stack.call(
            "POST", f"/hooks/payments/{PROVIDER}", body=body + b" ", headers=headers
        ).status
    except ErrorAnswer as error:
        status = error.answered_status
    story.run("payment_watcher")
    return Told({"status": 401, "balance": 0}, {"status": status, **story.look("balance")})


SCENARIO = Scenario(
    "provider-webhook-twice",
    (__doc__ or "").rstrip("."),
    (repeats_itself, counts_once, says_it_anew, is_forged),
)
