"""Domain time moved forward in leaps and set back under work; proved by what the stack says the time is."""

from __future__ import annotations

from typing import Any

from tenure.chaos.field import Field
from tenure.chaos.plan import Step


def strike(field: Field, step: Step) -> None:
    """`clock advance` by the target's span, or `clock reset`."""
    target = step.targets[0]
    before = _ahead(field)
    words = ("clock", "reset") if target == "reset" else ("clock", "advance", target)
    done = field.stack.command(*words, "--json")
    after = _ahead(field)
    moved = after < before if target == "reset" and before > 0 else after > before or target == "reset"
    field.record(
        "clock", target, happened=done.code == 0 and moved, ahead_before_s=before, ahead_after_s=after
    )


def _ahead(field: Field) -> float:
    said: dict[str, Any] = field.stack.command("clock", "show", "--json").json()
    return float(said["offset_s"])
