"""A worker given up in mid-work that comes back; proved by the reaper's END and the refusal of its writes.

The run writes under the fence for ever: job `sleep`, scope `write:N`. Whoever ends it makes it stop, and it
tells how many of its late writes were refused.
"""

from __future__ import annotations

from contextlib import closing
from typing import Any, Final

import psutil

from tenure.chaos.faults import longrun
from tenure.chaos.faults.freeze import frozen, thaw
from tenure.chaos.faults.processes import is_frozen
from tenure.chaos.field import Field
from tenure.chaos.plan import Step
from tenure.embedded.process import Identity
from tenure.kit.db import StatementDoor

# The run tries so many times more after the first refusal.
_LATE: Final = 20
_FIRST_S: Final = 20.0
_LOST_S: Final = 45.0
_REFUSED_S: Final = 60.0
_WRITES: Final = "SELECT count(*) AS n FROM event WHERE type = 'sleep.wrote' AND subject = %s"


def strike(field: Field, step: Step) -> None:
    """Freeze a worker in mid-work until its run is called lost, thaw it, and wait for its refused writes."""
    target = step.targets[0]
    slot = longrun.started(field, f"write:{_LATE}")
    run = longrun.seen(field, slot) if slot else None
    leader = _parent(run["pid"]) if run else None
    if slot is None or run is None or leader is None:
        field.record("zombie", target, happened=False, reason="the work did not start", run=run)
        return
    field.until(lambda: _written(field, run["id"]) > 0, within_s=_FIRST_S)
    family = frozen(leader) if target == "node" else frozen(leader, alone=True)
    try:
        stopped = field.until(lambda: bool(family) and all(is_frozen(one) for one in family))
        lost = field.until(lambda: _ended(field, slot), within_s=_LOST_S)
        before = _written(field, run["id"])
        field.wait(step.for_s)
    finally:
        thaw(family)
    refused = field.until(lambda: _refused(field, run["id"]), within_s=_REFUSED_S)
    # The child has come to its own END, with another outcome than the row has.
    ended_well = field.until(
        lambda: field.stack.said(run["id"], "end.was_there", '"ok"'), within_s=_REFUSED_S
    )
    after, end = _written(field, run["id"]), longrun.seen(field, slot)
    verdict = {name: lost[name] for name in ("outcome", "ended_by", "error_type")} if lost else {}
    by_reaper = verdict.get("outcome") == "lost" and verdict.get("ended_by") == "reaper"
    field.record(
        "zombie",
        target,
        # Both its writes and its END were refused: the row is to the microsecond what the reaper wrote.
        happened=bool(stopped and by_reaper and refused and ended_well)
        and after == before > 0
        and end == lost,
        iteration=run["id"],
        frozen=len(family),
        **verdict,
        writes_before=before,
        writes_after=after,
        refused=refused,
        childs_own_outcome="ok" if ended_well else None,
        end_unchanged=end == lost,
    )


def _parent(pid: int) -> Identity | None:
    try:
        parent = psutil.Process(pid).parent()
    except psutil.NoSuchProcess:
        return None
    return Identity.of(parent.pid) if parent else None


def _ended(field: Field, slot: str) -> dict[str, Any] | None:
    row = longrun.seen(field, slot)
    return row if row and row["ended_at"] is not None else None


def _refused(field: Field, iteration_id: str) -> int:
    """How many late writes the run says were refused; 0 as long as it has said nothing."""
    lines = field.stack.log_lines("sleep.refused")
    return sum(line["times"] for line in lines if line["iteration_id"] == iteration_id)


def _written(field: Field, iteration_id: str) -> int:
    with closing(StatementDoor(field.stack.database_url, application="tenure-chaos")) as door:
        return int(door.run(_WRITES, [f"iteration:{iteration_id}"])[0]["n"])
