"""Beat's scheduler on PostgreSQL: every beat is active, each due time becomes one slot.

A slot is claimed by row lock and its unique key, then published from its row. A broker that is away costs
only lateness: the slot stays pending, takes in the due times that follow, and goes out when it is back.
"""

from __future__ import annotations

from typing import Any, Final

import psycopg
from celery.beat import Scheduler

from tasks import enqueue, process
from tasks.door import jobs, settings
from tenure.errors import Unavailable
from tenure.iterations import schedules, slots
from tenure.kit import crash
from tenure.kit.db import Database, StatementDoor, conninfo
from tenure.kit.logging import get_logger

_log = get_logger("tenure.beat")
_LONGEST_WAIT_S: Final = 1.0
_BACK_OFF_S: Final = 1.0


class PgScheduler(Scheduler):  # type: ignore[misc]  # Celery is untyped
    """Reads the `schedule` rows; everything it knows is in the database."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Connect lazily: the first tick may find PostgreSQL away and waits for it."""
        url = settings.require_database_url()
        self._db = Database(url, pool_size=1, application="tenure-beat")
        self._door = StatementDoor(url, application="tenure-beat-publish")
        self._listener: psycopg.Connection[Any] | None = None
        self._seeded = False
        super().__init__(*args, **kwargs)

    def setup_schedule(self) -> None:
        """Nothing to load: rows are read at each tick."""

    def tick(self, *_: Any, **__: Any) -> float:
        """Claim what is due, publish what waits, then wait for the next due time or a knock."""
        try:
            if not self._seeded:
                schedules.seed(self._door, jobs.values())
                self._seeded = True
            with self._db.transaction() as session:
                due = schedules.claim_due(session, jobs)
            if due:
                crash.point("beat.slots")
            enqueue.publish_due(self._door)
            self._wait(min(schedules.seconds_to_next(self._door, jobs), _LONGEST_WAIT_S))
        except (Unavailable, psycopg.OperationalError) as error:
            _log.warning("beat.waiting", reason=type(error).__name__)
            self._forget_listener()
            return _BACK_OFF_S
        return 0.0

    def close(self) -> None:
        """Leave in order."""
        self._forget_listener()
        self._door.close()
        self._db.close()
        process.parent().stop()

    @property
    def info(self) -> str:
        """What beat's banner shows."""
        return "    . schedules -> PostgreSQL"

    def _wait(self, seconds: float) -> None:
        if self._listener is None or self._listener.closed:
            info = conninfo(settings.require_database_url(), application="tenure-beat-listen")
            self._listener = psycopg.connect(info, autocommit=True)
            self._listener.execute(f"LISTEN {slots.NOTIFY_CHANNEL}")
        for _ in self._listener.notifies(timeout=seconds, stop_after=1):
            pass

    def _forget_listener(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None
