"""The stack stopped with work in flight that does not listen, and started again; proved by its END."""

from __future__ import annotations

from typing import Final

from tenure.chaos.faults import longrun
from tenure.chaos.field import Field
from tenure.chaos.plan import Step
from tenure.kit import clock

_ENDED_S: Final = 60.0
# What is allowed for an orderly stop of everything: see `tenure down`.
_DOWN_S: Final = 75.0


def strike(field: Field, step: Step) -> None:
    """`down` while a run goes on (target: its scope for the job `sleep`), then `up`."""
    scope = step.targets[0]
    slot = longrun.started(field, scope)
    if slot is None:
        field.record("shutdown", scope, happened=False, reason="the work did not start")
        return
    roles = [one for name in field.stack.roles() if (one := field.stack.identity(name)) is not None]
    began = clock.monotonic()
    code = field.stack.stop()
    took = round(clock.monotonic() - began, 1)
    gone = not any(role.alive for role in roles)
    field.stack.start()
    ended = field.until(
        lambda: (run := longrun.seen(field, slot)) and run["ended_at"] and run, within_s=_ENDED_S
    )
    field.record(
        "shutdown",
        scope,
        happened=gone and took < _DOWN_S and bool(ended),
        exit_code=code,
        took_s=took,
        all_gone=gone,
        outcome=ended["outcome"] if ended else None,
        ended_by=ended["ended_by"] if ended else None,
    )
