"""How demo data is told from everything else."""

from __future__ import annotations

from typing import Final

from tenure.errors import Invalid
from tenure.settings import Chain, Settings
from tenure.standins.chain import DEV_CHAIN_ID

CHAIN: Final = "demo"
ASSET: Final = "USDC"
EMAIL_DOMAIN: Final = "demo.invalid"  # RFC 2606: no mail ever arrives there
ID_PREFIX: Final = "demo-"
# Both marks: a customer of somebody's own whose external id happens to begin like this is not one of ours.
CUSTOMERS: Final = f"external_id LIKE '{ID_PREFIX}%' AND email LIKE '%@{EMAIL_DOMAIN}'"
PLANS: Final = f"code LIKE '{ID_PREFIX}%' AND name LIKE '%(demo)'"


def refuse_in_production(settings: Settings) -> None:
    """Raises Invalid where real customers are served."""
    if settings.is_production:
        raise Invalid("the demo world is for development: not in production")


def demo_chain(settings: Settings) -> Chain | None:
    """The stand-in's chain, when this install has it and a price of its token. Never a chain of the world."""
    found = next((one for one in settings.chains if one.name == CHAIN and one.chain_id == DEV_CHAIN_ID), None)
    return found if found is not None and settings.rates.get(ASSET, {}).get("USD") else None
