"""A run of the job `sleep` that lasts, for faults that must meet work in flight."""

from __future__ import annotations

from contextlib import closing
from typing import Any, Final

from tenure.chaos.field import Field
from tenure.errors import TenureError
from tenure.kit.db import StatementDoor

# Long enough for every fault: the run shall not end by itself.
LIMITS: Final = {"sleep": {"soft_s": 100, "hard_s": 120}}
_STARTED_S: Final = 45.0
_RUN: Final = """
SELECT id, pid, ended_at, outcome, ended_by, error_type FROM iteration
WHERE slot_id = %s ORDER BY id DESC LIMIT 1
"""


def started(field: Field, scope: str) -> str | None:
    """Ask for a run of `sleep` and wait until it goes on; its slot's id, or None when it does not start."""
    slot = field.until(lambda: _asked(field, scope), within_s=_STARTED_S)
    if slot is None:
        return None
    going = field.until(lambda: (row := seen(field, slot)) and row["ended_at"] is None, within_s=_STARTED_S)
    return slot if going else None


def seen(field: Field, slot: str) -> dict[str, Any] | None:
    """The slot's newest iteration, if any: `id, pid, ended_at, outcome, ended_by, error_type`."""
    try:
        with closing(StatementDoor(field.stack.database_url, application="tenure-chaos")) as door:
            rows = door.run(_RUN, [slot])
    except TenureError:
        return None
    return rows[0] if rows else None


def _asked(field: Field, scope: str) -> str | None:
    try:
        return field.ask_for_a_run("sleep", scope)
    except TenureError:
        return None
