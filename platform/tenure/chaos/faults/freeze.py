"""SIGSTOP: a process and its children hold still, keep every connection, and go on as if nothing was."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import Final

import psutil

from tenure.chaos.faults.processes import first_held, is_frozen, state
from tenure.chaos.field import Field
from tenure.chaos.plan import Step
from tenure.embedded.process import Identity

_STOPPED_S: Final = 5.0


def strike(field: Field, step: Step) -> None:
    """Freeze the first target with its children for a while; proved by the kernel's state `T` of each."""
    found = first_held(field, step.targets)
    if found is None:
        field.record("freeze", step.targets[0], happened=False, reason="no such process came up")
        return
    target, victim = found
    family = frozen(victim)
    try:
        stopped = field.until(lambda: all(is_frozen(one) for one in family), within_s=_STOPPED_S)
        states = {one.pid: state(one) for one in family}
        field.wait(step.for_s)
    finally:
        thaw(family)
    going = field.until(lambda: not any(is_frozen(one) for one in family), within_s=_STOPPED_S)
    field.record(
        "freeze",
        target,
        happened=bool(stopped and states),
        states=states,
        for_s=step.for_s,
        continued=bool(going),
    )


def frozen(leader: Identity, *, alone: bool = False) -> list[Identity]:
    """Stop the process and, unless `alone`, everything below it; the leader first: it starts nothing new.

    Those that live of them; none when the leader has ended.
    """
    try:
        os.kill(leader.pid, signal.SIGSTOP)
        below = [] if alone else psutil.Process(leader.pid).children(recursive=True)
    except (ProcessLookupError, psutil.NoSuchProcess):
        return []
    family = [leader, *(one for child in below if (one := Identity.of(child.pid)) is not None)]
    for one in family[1:]:
        with suppress(ProcessLookupError):
            os.kill(one.pid, signal.SIGSTOP)
    return [one for one in family if one.alive]


def thaw(family: list[Identity]) -> None:
    """Let them go on. Those that were killed meanwhile are left alone."""
    for one in family:
        if one.alive:
            with suppress(ProcessLookupError):
                os.kill(one.pid, signal.SIGCONT)
