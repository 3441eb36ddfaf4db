"""SIGKILL: a process ends in the middle of whatever it does."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import Final

from tenure.chaos.faults.processes import first_held
from tenure.chaos.field import Field
from tenure.chaos.plan import Step

_GONE_S: Final = 10.0


def strike(field: Field, step: Step) -> None:
    """Kill the first target that lives; proved by its having stood still before, and being gone after."""
    found = first_held(field, step.targets)
    if found is None:
        field.record("kill", step.targets[0], happened=False, reason="no such process came up")
        return
    target, victim = found
    with suppress(ProcessLookupError):  # its parent or its supervisor was as quick as we were, with a SIGKILL
        os.kill(victim.pid, signal.SIGKILL)
    gone = field.until(lambda: not victim.alive, within_s=_GONE_S)
    field.record("kill", target, happened=bool(gone), pid=victim.pid, gone=bool(gone))
