"""A child that dies before its parent has read that it took a message: the pool gives the message out again.

When that happens is the pool's and the scheduler's secret, so the second delivery is made here by hand, in a
process of its own that stands for the second child.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tenure.iterations import ledger as ledger_module
from tenure.iterations.ledger import Caller
from tenure.kit.db import Database, StatementDoor
from tests.kill.conftest import verified
from tests.support import builders as build
from tests.support.worker import ROOT, Ledger

pytestmark = pytest.mark.kill

SECOND_CHILD = """
import sys
from tasks import app, process
process.start_parent("worker", "second")
task = app.tasks["tenure.sleep"]
task.push_request(hostname="second@here", tenure_owner=sys.argv[2])
print(task(slot=sys.argv[1], attempt=1))
process.parent().stop()
"""


def test_what_the_dead_child_began_is_ended_as_killed_and_not_run_again(
    db: Database, database_url: str, env: dict[str, str]
) -> None:
    owner = "an owner made for one delivery"
    asked = Ledger(db, env)
    slot = asked.run("sleep", "ok:0")
    build.rows(
        db,
        "INSERT INTO node (id, role, name, host, pid, version, lease_until, info) VALUES "
        "('nod_first', 'worker', 'first', 'here', 1, '0', clock_timestamp() + interval '1 hour', '{}')"
        " RETURNING id",
    )
    door = StatementDoor(database_url, application="tenure-test")
    began = ledger_module.start(
        door,
        slot_id=slot,
        attempt=1,
        caller=Caller(owner=owner, node_id="nod_first", worker="first@here", pid=1),
        deadline_s=300,
        max_attempts=1,
    )
    door.close()
    assert began is not None
    assert began.state == "started"

    done = subprocess.run(
        [sys.executable, "-c", SECOND_CHILD, slot, owner],
        cwd=ROOT, env={**os.environ, **env}, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip

    assert "'dropped': 'decided before'" in done.stdout, done.stdout + done.stderr
    (only,) = asked.iterations(slot)
    assert (only["outcome"], only["ended_by"], only["error_type"]) == ("killed", "parent", "WorkerLostError")
    build.rows(db, "DELETE FROM node WHERE id = 'nod_first' RETURNING id")  # its lease was the test's own
    verified(db)
