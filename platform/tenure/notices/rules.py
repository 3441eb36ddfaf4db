"""Whether a planned notice is still true when its turn comes. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

# These have to arrive: by e-mail an unknown one is sent again under the same Message-ID.
MUST_ARRIVE: Final = ("payment_confirmed",)

# In which states of the subscription a kind speaks the truth; kinds that are not named always do.
_SPEAKS: Final = {
    "trial_started": frozenset({"trialing"}),
    "trial_ending": frozenset({"trialing"}),
    "period_ending": frozenset({"active"}),
    "past_due": frozenset({"past_due"}),
    "expired": frozenset({"expired"}),
}
_GOES_ON: Final = frozenset({"trialing", "active"})


@dataclass(frozen=True, slots=True)
class Standing:
    """What stands when a notice's turn comes. `current_ref` names the current period's end."""

    kind: str
    stage: str
    ref: str
    current_ref: str
    status: str
    paid_periods: int
    now: datetime
    not_after: datetime | None
    address: str | None
    blocked: bool


def skip_reason(standing: Standing) -> str | None:
    """Why it must not be sent any more, or None."""
    if standing.not_after is not None and standing.now >= standing.not_after:
        return "stale"
    # Stages and expiries are about one end of one period; other kinds about a payment or an invoice.
    about_an_end = standing.stage != "" or standing.kind == "expired"
    moved_on = about_an_end and standing.ref != standing.current_ref
    if moved_on or (standing.kind == "trial_ending" and standing.paid_periods):
        return "renewed"
    speaks_in = _SPEAKS.get(standing.kind)
    if speaks_in is not None and standing.status not in speaks_in:
        return "renewed" if standing.status in _GOES_ON else "ended"
    if standing.address is None:
        return "no_address"
    return "blocked" if standing.blocked else None
