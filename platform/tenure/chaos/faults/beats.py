"""More beats than one, by mistake or on purpose; proved by their leases."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from typing import Final

from tenure.chaos.field import Field
from tenure.chaos.plan import Step
from tenure.embedded import process
from tenure.embedded.stack import ROOT
from tenure.kit.db import StatementDoor

_READY_S: Final = 60.0
_BEATS: Final = """
SELECT pid FROM node WHERE role = 'beat' AND stopped_at IS NULL AND lease_until > clock_timestamp()
"""


def strike(field: Field, step: Step) -> None:
    """One more beat beside the stack's own, until the faults are over."""
    log = (field.stack.folder / "second-beat.log").open("ab")
    beat = process.start(
        [sys.executable, "-m", "celery", "-A", "tasks", "beat", "--pidfile="],
        env=field.stack.environment,
        cwd=ROOT,
        output=log,
    )
    log.close()
    field.healing.callback(_end, beat)
    door = StatementDoor(field.stack.database_url, application="tenure-chaos")
    with closing(door):
        alive = field.until(
            lambda: beat.pid in (pids := {row["pid"] for row in door.run(_BEATS)}) and pids, within_s=_READY_S
        )
    field.record("second_beat", step.targets[0], happened=bool(alive), pid=beat.pid, beats=len(alive or ()))


def _end(beat: subprocess.Popen[bytes]) -> None:
    process.stop(beat)
