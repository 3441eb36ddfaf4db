"""Faults of the world outside: errors, silence, drips, lost answers and nonsense; proved by the stand-ins."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from tenure.chaos.field import Field
from tenure.chaos.plan import Step
from tenure.standins.faults import Fault, FaultKind, Faults

_TIMES: Final = 6
_MET_S: Final = 25.0
FAULTS: Final = MappingProxyType(
    {
        "error": Fault(FaultKind.STATUS, times=_TIMES, status=500),
        "too_many": Fault(FaultKind.STATUS, times=_TIMES, status=429, retry_after_s=1),
        "silence": Fault(FaultKind.DELAY, times=2, delay_s=12.0),
        "drop": Fault(FaultKind.DROP, times=_TIMES),
        "lost_answer": Fault(FaultKind.CUT, times=_TIMES),
        "drip": Fault(FaultKind.DRIP, times=2, delay_s=0.5),
        "nonsense": Fault(FaultKind.NONSENSE, times=_TIMES),
    }
)

TITLES: Final = MappingProxyType(
    {
        "error": "The next calls are answered with 500",
        "too_many": "The next calls are answered with 429 and a Retry-After",
        "silence": "The next calls are answered after 12 s, when nobody listens any more",
        "drop": "The next connections end before anything is done",
        "lost_answer": "The next calls are carried out, and their connections end before the answer",
        "drip": "The next calls are answered byte by byte, half a second apart",
        "nonsense": "The next calls are carried out, and answered with a page of HTML and status 200",
    }
)


def strike(field: Field, step: Step) -> None:
    """The next calls to one stand-in suffer; what was not met in time is taken back."""
    target, fault = step.targets[0], FAULTS[step.fault]
    suffering = _faults(field, target)
    before = suffering.hits.get(fault.kind, 0)
    suffering.plan(fault)
    field.until(lambda: suffering.hits.get(fault.kind, 0) - before >= fault.times, within_s=_MET_S)
    suffering.clear()
    met = suffering.hits.get(fault.kind, 0) - before
    field.record(step.fault, target, happened=met > 0, calls=met)


def _faults(field: Field, target: str) -> Faults:
    world = field.stack.outside
    match target:
        case "provisioner":
            return world.provisioner.faults
        case "mail":
            return world.mailbox.faults
        case "telegram":
            return world.telegram.faults
        case _:
            return world.chain.faults
