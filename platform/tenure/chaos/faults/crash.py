"""Death at named points of the code; proved by the lines that the points write before they die.

The stack reads `TENURE_CRASH_AT` from a file, and a role that starts anew is armed with what stands there
then. Starting is what takes long: so all points of one part of the stack are armed at once, and died at one
after the other while it works.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Final

import psutil

from tenure.chaos.faults import longrun
from tenure.chaos.faults.processes import find
from tenure.chaos.field import Field
from tenure.chaos.plan import Step
from tenure.embedded.process import Identity
from tenure.errors import TenureError
from tenure.kit.crash import POINTS

_REACHED_S: Final = 240.0
# The file in the stack's folder that orders the deaths; a settings file may not be empty.
ORDERS: Final = "crash_at"
NO_ORDERS: Final = ","
_CALM_S: Final = 0.5
_WORKERS: Final = ("worker", "worker-payments")
# A slot must wait a whole minute before it is skipped: the runtime's own tests go there.
_NOT_HERE: Final = frozenset({"repair.skipped"})


@dataclass(frozen=True, slots=True)
class Part:
    """Roles that are started anew together, the points armed in them, and the deaths at each."""

    roles: tuple[str, ...]
    points: tuple[str, ...]
    deaths: int


_PARENTS: Final = ("request.received", "request.accepted", "end.parent", "repair.reaped")
_OTHERS: Final = ("beat", "run", "publish", "relay")
_ALL: Final = tuple(name for name in POINTS if name not in _NOT_HERE)
PARTS: Final = (
    # A new child is there at once; a role takes seconds, so it dies less often.
    Part(
        _WORKERS,
        tuple(name for name in _ALL if name not in _PARENTS and name.partition(".")[0] not in _OTHERS),
        deaths=3,
    ),
    # Beats repair as well, and whoever is first does it.
    Part((*_WORKERS, "beat"), _PARENTS, deaths=2),
    Part(
        ("beat", "relay", "web"),
        tuple(name for name in _ALL if name.partition(".")[0] in _OTHERS),
        deaths=2,
    ),
)


def strike(field: Field, step: Step) -> None:
    """Arm the points of one part, start it anew, and wait until so many deaths were died at each."""
    part = next(part for part in PARTS if step.targets[0] in part.points)
    earlier = _deaths(field)
    wanted = {point: earlier[point] + part.deaths for point in part.points}
    orders = field.stack.folder / ORDERS
    orders.write_text(",".join(f"{point}*{times}" for point, times in wanted.items()), encoding="utf-8")
    _start_anew(field, part.roles)

    def all_died() -> bool:
        deaths = _deaths(field)
        waiting = {point for point, times in wanted.items() if deaths[point] < times}
        if waiting:
            _provoke(field, waiting)
        return not waiting

    field.until(all_died, within_s=_REACHED_S)
    orders.write_text(NO_ORDERS, encoding="utf-8")
    died = _deaths(field)
    for point in part.points:
        lines = [line for line in field.stack.crashes if line["point"] == point]
        where = sorted({f"{line['role']} {line['job']}".strip() for line in lines})
        count = died[point] - earlier[point]
        field.record(
            "crash", point, happened=count > 0, deaths=count, in_time=count >= part.deaths, where=where
        )


def _provoke(field: Field, waiting: Collection[str]) -> None:
    """Bring about what some points wait for, and let the others come."""
    field.wait(_CALM_S)
    if "run.requested" in waiting:
        with suppress(TenureError):  # this very call is what dies
            field.ask_for_a_run("expiry")
    if "end.parent" in waiting or waiting == {"repair.reaped"}:
        _leave_work_behind(field, with_parent=waiting == {"repair.reaped"})


def _leave_work_behind(field: Field, *, with_parent: bool) -> None:
    """Kill a child in the middle of a run; with its parent nobody is left who could write the END."""
    # Another scope each time: three deaths of one would put it into quarantine.
    slot = longrun.started(field, f"ok:{field.dice.uniform(20, 30):.4f}")
    run = longrun.seen(field, slot) if slot else None
    if run is None:
        return
    with suppress(psutil.NoSuchProcess, ProcessLookupError):
        child = psutil.Process(run["pid"])
        parent = child.parent()
        os.kill(parent.pid if with_parent and parent else child.pid, signal.SIGKILL)


def _start_anew(field: Field, roles: tuple[str, ...]) -> None:
    killed: dict[str, Identity] = {}
    for role in roles:
        victim = field.until(partial(find, field, role))
        if victim is not None:
            killed[role] = victim
            with suppress(ProcessLookupError):
                os.kill(victim.pid, signal.SIGKILL)
    field.until(lambda: not any(one.alive for one in killed.values()))


def _deaths(field: Field) -> Counter[str]:
    return Counter(line["point"] for line in field.stack.crashes)
