"""Faults of the way between the stack and its servers, dealt by a proxy; proved by the proxy's counts."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from tenure.chaos.field import Field
from tenure.chaos.plan import Step
from tenure.chaos.proxy import Mode, Weather

# PostgreSQL's answer to COMMIT: CommandComplete with this tag. Its loss leaves the outcome unknown.
_COMMIT: Final = b"COMMIT\x00"
_CUTS: Final = 5
_MET_S: Final = 20.0
WEATHERS: Final = MappingProxyType(
    {
        "cut_commit": Weather(Mode.CUT, mark=_COMMIT, cuts=_CUTS),
        "cut_answer": Weather(Mode.CUT, cuts=_CUTS),
        "refuse": Weather(Mode.REFUSE),
        "reset": Weather(Mode.RESET),
        "hole": Weather(Mode.HOLE),
        "deaf": Weather(Mode.DEAF),
        "slow": Weather(Mode.SLOW, delay_s=0.1),
    }
)

TITLES: Final = MappingProxyType(
    {
        "cut_commit": "Answers to COMMIT thrown away and their connections reset: the outcome is unknown",
        "cut_answer": "Any answers thrown away and their connections reset",
        "refuse": "New connections reset, standing ones go on",
        "reset": "Standing connections reset, new ones as well",
        "hole": "Nothing comes through in either direction, and nobody is told",
        "deaf": "What clients say arrives, the answers do not",
        "slow": "Every answer waits a tenth of a second",
    }
)


def strike(field: Field, step: Step) -> None:
    """The weather of this name for a while, at least until traffic met it."""
    target, weather = step.targets[0], WEATHERS[step.fault]
    proxy, name = field.proxies[target], str(weather.mode)
    before = proxy.counts.get(name, 0)
    proxy.set(weather)
    try:
        field.wait(step.for_s)
        field.until(lambda: proxy.counts.get(name, 0) > before, within_s=_MET_S)
    finally:
        proxy.set(Weather())
    met = proxy.counts.get(name, 0) - before
    field.record(step.fault, target, happened=met > 0, met=met, for_s=step.for_s)
