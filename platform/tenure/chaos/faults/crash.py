"""Death at a named point of the code; proved by the line that the point writes before it dies.

The stack reads `TENURE_CRASH_AT` from a file. A role that starts anew is armed with what stands there then.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from functools import partial
from typing import Final

from tenure.chaos.faults.processes import find
from tenure.chaos.field import Field
from tenure.chaos.plan import Step
from tenure.errors import TenureError
from tenure.kit.crash import POINTS

DEATHS: Final = 3
_REACHED_S: Final = 150.0
_AGAIN_S: Final = 12.0
_WORKERS: Final = ("worker", "worker-payments")
# Who comes by a point, by the beginning of its name; all others are reached in workers.
_ROLES: Final = {"beat": ("beat",), "relay": ("relay",), "run": ("web",), "publish": ("beat",)}
# A slot must wait a whole minute before it is skipped: the runtime's own tests go there.
_NOT_HERE: Final = frozenset({"repair.skipped"})


def points() -> tuple[str, ...]:
    """The points that a run goes to."""
    return tuple(name for name in POINTS if name not in _NOT_HERE)


def strike(field: Field, step: Step) -> None:
    """Arm one point for some deaths, start its role anew, and wait until they were died."""
    point = step.targets[0]
    roles = _ROLES.get(point.partition(".")[0], _WORKERS)
    earlier = _deaths(field, point)
    orders = field.stack.folder / "crash_at"
    orders.write_text(f"{point}*{earlier + DEATHS}", encoding="utf-8")
    _start_anew(field, roles)
    reached = field.until(
        lambda: _deaths(field, point) >= earlier + DEATHS or _provoked(field, point), within_s=_REACHED_S
    )
    orders.write_text("", encoding="utf-8")
    died = _deaths(field, point) - earlier
    where = sorted({f"{line['role']} {line['job']}".strip() for line in _lines(field, point)})
    field.record("crash", point, happened=died > 0, deaths=died, where=where, in_time=bool(reached))


def _provoked(field: Field, point: str) -> bool:
    """Bring about what some points wait for; always false."""
    if point.startswith("run."):
        with suppress(TenureError):  # this very call is what dies
            field.ask_for_a_run("expiry")
    if point in {"repair.reaped", "end.parent"}:
        # Somebody must leave work without an END: a worker with all its children, or one child.
        field.wait(field.dice.uniform(1.0, _AGAIN_S))
        victim = find(field, "child" if point == "end.parent" else "worker-payments")
        if victim is not None:
            with suppress(ProcessLookupError):
                os.kill(victim.pid, signal.SIGKILL)
    return False


def _start_anew(field: Field, roles: tuple[str, ...]) -> None:
    for role in roles:
        victim = field.until(partial(find, field, role))
        if victim is not None:
            with suppress(ProcessLookupError):
                os.kill(victim.pid, signal.SIGKILL)


def _lines(field: Field, point: str) -> list[dict[str, str]]:
    return [line for line in field.stack.crashes if line["point"] == point]


def _deaths(field: Field, point: str) -> int:
    return len(_lines(field, point))
