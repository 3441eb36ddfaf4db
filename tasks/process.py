"""What one process of a worker holds: the parent its node and its door, each child its own connections.

Nothing that was opened before the fork is used after it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from tasks import enqueue
from tasks.door import settings
from tasks.late_ends import LateEnds
from tenure.errors import BrokenRule
from tenure.iterations import ledger
from tenure.iterations.ledger import Ended, EndedBy, Outcome
from tenure.iterations.node import Node
from tenure.iterations.repair import Repair
from tenure.kit import crash
from tenure.kit import db as db_kit
from tenure.kit import valkey as valkey_kit
from tenure.kit.db import Database, PooledDoor, StatementDoor, check_reachable
from tenure.kit.logging import get_logger
from tenure.kit.watchdog import Condition, Watchdog
from tenure.wiring import Deps, build

_log = get_logger("tenure.worker")
# At most three connections a child: one for the ledger, two for the job's transactions.
_CHILD_POOL: Final = 2
_STATEMENT_S: Final = 5.0
_LAST_CHANCE_S: Final = 2.0
# What the signs of progress need, by name.
DATABASE: Final = "database"
BROKER: Final = "broker"
# Missed also when they never come: a process that hangs in its start.
_SIGNS: Final = {"worker": {"loop": BROKER, "broker": BROKER}, "beat": {"tick": DATABASE}}


@dataclass(slots=True)
class Parent:
    """The main process of a worker, or beat: two connections, one of them the lease's alone."""

    node: Node
    door: StatementDoor
    db: Database | None
    watchdog: Watchdog
    late: LateEnds

    def end(self, owner: str, outcome: Outcome, by: EndedBy, error_type: str) -> None:
        """Write an END that the child could not, now or when PostgreSQL is back.

        This runs in the worker's event loop, so the door's statements are bounded to a few seconds.
        """
        self.late.write(
            lambda: ledger.end(self.door, owner=owner, outcome=outcome, ended_by=by, error_type=error_type),
            event="end.waits",
            ended_by=by.value,
        )

    def stop(self) -> None:
        """Leave in order."""
        self.watchdog.stop()
        self.late.finish(_LAST_CHANCE_S)
        self.node.stop()
        self.door.close()
        if self.db is not None:
            self.db.close()


@dataclass(slots=True)
class Child:
    """A pool process: its ledger door, and what jobs need."""

    door: StatementDoor
    deps: Deps
    pid: int
    late: LateEnds


_parent: Parent | None = None
_child: Child | None = None


def start_parent(role: str, name: str) -> Parent:
    """Register this process as a node and start its lease, its repair thread and its watchdog.

    Raises Unavailable or BadSettings with a sentence when PostgreSQL cannot be used.
    """
    global _parent  # noqa: PLW0603 - one per process, made at its start
    crash.arm(settings.crash_at, settings.data_dir, role=role)
    url = settings.require_database_url()
    check_reachable(url)
    node = Node(role=role, name=name, database_url=url, lease_s=settings.node_lease_s)
    node.register()
    watchdog = _watchdog(role, url)
    node.on_renewed = watchdog.sign("lease", DATABASE).stamp
    for sign, needs in _SIGNS[role].items():
        watchdog.sign(sign, needs)
    application = f"tenure-{role}"
    if role == "beat":  # it needs transactions too
        db = Database(url, pool_size=1, application=application, statement_timeout_s=_STATEMENT_S)
        door: StatementDoor = PooledDoor(db)
    else:
        db, door = None, StatementDoor(url, application=application, statement_timeout_s=_STATEMENT_S)
    _log.info("db.pool", max_size=1 if db is not None else _CHILD_POOL)
    repair = Repair(door, lease_s=settings.node_lease_s, publish=enqueue.publish_due, on_end=tell_ended)
    node.start(repair)
    watchdog.start()
    _parent = Parent(node, door, db, watchdog, LateEnds(tell_ended))
    return _parent


def _watchdog(role: str, url: str) -> Watchdog:
    broker = settings.require_broker_url()
    return Watchdog(
        role=role,
        limit_s=settings.watchdog_s,
        grace_s=settings.watchdog_grace_s,
        conditions=[
            Condition(DATABASE, lambda: db_kit.answers(url)),
            Condition(BROKER, lambda: valkey_kit.answers(broker)),
        ],
    )


def parent() -> Parent:
    """The node this process (or the one it was forked from) is."""
    if _parent is None:
        raise BrokenRule("no node was registered in this process")
    return _parent


def child() -> Child:
    """This pool process's own connections, made at first use after the fork."""
    global _child  # noqa: PLW0603 - one per process
    if _child is None or _child.pid != os.getpid():
        crash.arm(settings.crash_at, settings.data_dir, role="child")
        url = settings.require_database_url()
        _child = Child(
            door=StatementDoor(url, application="tenure-child-ledger"),
            deps=build(settings, pool_size=_CHILD_POOL, application="tenure-child"),
            pid=os.getpid(),
            late=LateEnds(tell_ended),
        )
    return _child


def child_stops() -> None:
    """The pool process is about to leave: what could not be written has its last chance."""
    if _child is not None and _child.pid == os.getpid():
        _child.late.finish(_LAST_CHANCE_S)


def tell_ended(ended: Iterable[Ended]) -> None:
    """Fire our own signal for ENDs written in this process."""
    from tasks.signals import iteration_ended

    for end in ended:
        iteration_ended.send(sender=end.job, end=end)
