"""Beat's scheduler on PostgreSQL: every beat is active, each due time becomes one slot.

A slot is claimed by row lock and its unique key, then published from its row. A broker that is away costs
only lateness: the slot stays pending, takes in the due times that follow, and goes out when it is back.
"""

from __future__ import annotations

from typing import Any, Final

from celery.beat import Scheduler

from tasks import enqueue, process
from tasks.door import jobs
from tenure.errors import Unavailable
from tenure.iterations import schedules, slots
from tenure.kit import crash
from tenure.kit.logging import get_logger

_log = get_logger("tenure.beat")
_LONGEST_WAIT_S: Final = 1.0
_BACK_OFF_S: Final = 1.0


class PgScheduler(Scheduler):  # type: ignore[misc]  # Celery is untyped
    """Reads the `schedule` rows; everything it knows is in the database."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Nothing is opened: this runs before the process is a node."""
        self._seeded = False
        super().__init__(*args, **kwargs)

    def setup_schedule(self) -> None:
        """Nothing to load: rows are read at each tick."""

    def tick(self, *_: Any, **__: Any) -> float:
        """Claim what is due, publish what waits, then wait for the next due time or a knock."""
        parent = process.parent()
        try:
            self._tick(parent)
        except Unavailable as error:
            _log.warning("beat.waiting", reason=error.extra.get("reason"))
            return _BACK_OFF_S
        parent.watchdog.sign("tick", process.DATABASE).stamp()
        return 0.0

    def _tick(self, parent: process.Parent) -> None:
        db, door = parent.db, parent.door
        assert db is not None  # noqa: S101 - beat's parent has one
        if not self._seeded:
            schedules.seed(door, jobs.values())
            self._seeded = True
        with db.transaction() as session:
            due = schedules.claim_due(session, jobs)
        if due:
            crash.point("beat.slots")
        enqueue.publish_due(door)
        db.wait_for(slots.NOTIFY_CHANNEL, min(schedules.seconds_to_next(door, jobs), _LONGEST_WAIT_S))

    def close(self) -> None:
        """Leave in order."""
        process.parent().stop()

    @property
    def info(self) -> str:
        """What beat's banner shows."""
        return "    . schedules -> PostgreSQL"
