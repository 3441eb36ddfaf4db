"""An odd amount on the chain waits for a person, who gives it to the invoice that it was meant for."""

from __future__ import annotations

from typing import Any

from tenure.chaos.scenarios.story import ON_CHAIN, Story
from tenure.chaos.scenarios.told import Scenario, Told


def pays_oddly(story: Story) -> Told:
    """The customer rounds the amount up: it matches no invoice, and an alert asks somebody to look."""
    story.subscribe()
    quote = story.order(ON_CHAIN)["quote"]
    story.remembered["tx"] = story.transfer(int(quote["amount_units"]) + 10_000_000)
    return story.awaits(
        {"payment": "confirmed unmatched", "invoice": "open"},
        lambda: {"payment": _shown(_payment(story)), **story.look("invoice")},
    )


def is_assigned(story: Story) -> Told:
    """An operator assigns it: the invoice is paid, and what was too much is balance."""
    story.api("POST", f"/payments/{_payment(story)['id']}/assign", {"invoice_id": story.invoice_id})
    told = story.becomes(invoice="paid", exception="overpaid", status="active", entitled=True)
    return Told({**told.expected, "balance": True}, {**told.seen, "balance": story.balance() > 0})


def only_once(story: Story) -> Told:
    """A second assignment of the same payment is refused."""
    path = f"/payments/{_payment(story)['id']}/assign"
    refused = story.refusal("POST", path, {"invoice_id": story.invoice_id})
    return Told({"refused": "already_matched"}, {"refused": refused})


def _payment(story: Story) -> dict[str, Any]:
    found = story.stack.api("GET", "/payments?limit=200")["items"]
    return next((one for one in found if one["tx_hash"] == story.remembered["tx"]), {})


def _shown(payment: dict[str, Any]) -> str:
    return f"{payment.get('status')} {payment.get('match')}"


SCENARIO = Scenario("suspense", (__doc__ or "").rstrip("."), (pays_oddly, is_assigned, only_once))
