"""Every scenario, by its name, in the order in which they are told."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from tenure.chaos.scenarios import (
    blind_chain,
    cancel_at_period_end,
    extend,
    import_then_reconcile,
    late_payment,
    overpaid,
    pause_and_resume,
    payment_on_chain,
    reminder_then_expiry,
    renew_from_balance,
    reorg,
    suspense,
    trial_to_paid,
    underpaid,
    webhook_twice,
)
from tenure.chaos.scenarios.told import Scenario
from tenure.errors import NotFound

_ALL: Final = (
    trial_to_paid.SCENARIO,
    payment_on_chain.SCENARIO,
    reminder_then_expiry.SCENARIO,
    renew_from_balance.SCENARIO,
    late_payment.SCENARIO,
    underpaid.SCENARIO,
    overpaid.SCENARIO,
    suspense.SCENARIO,
    reorg.SCENARIO,
    blind_chain.SCENARIO,
    webhook_twice.SCENARIO,
    cancel_at_period_end.SCENARIO,
    pause_and_resume.SCENARIO,
    extend.SCENARIO,
    import_then_reconcile.SCENARIO,
)
SCENARIOS: Final = MappingProxyType({scenario.name: scenario for scenario in _ALL})


def scenario_named(name: str) -> Scenario:
    """The scenario of this name. Raises NotFound naming the ones there are."""
    if name not in SCENARIOS:
        raise NotFound(f"there is no scenario {name!r}; there are: {', '.join(SCENARIOS)}")
    return SCENARIOS[name]
