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
    # What the command itself says: the operator beside us moves the clock as well.
    after = float(done.json()["offset_s"]) if done.code == 0 else before
    moved = after == 0 if target == "reset" else after > before
    field.record(
        "clock",
        target,
        happened=done.code == 0 and moved,
        exit_code=done.code,
        ahead_before_s=before,
        ahead_after_s=after,
    )


def _ahead(field: Field) -> float:
    said: dict[str, Any] = field.stack.command("clock", "show", "--json").json()
    return float(said["offset_s"])
