"""A running iteration, as the job sees it: counters, time left, and fenced transactions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from tenure.errors import IterationOver
from tenure.kit import clock, crash
from tenure.kit.db import Database

# FOR SHARE: END waits for writes that are under way, and no write begins after END. (FOR KEY SHARE would
# not hold END back, because END changes no key.) A statement's bound comes with it, for this transaction: a
# child that is killed leaves its statement running, and END has to wait for that.
_FENCE: Final = text("""
    SELECT set_config('statement_timeout', :bound, true) FROM iteration
    WHERE id = :id AND ended_at IS NULL FOR SHARE
""")
_LONGEST_STATEMENT_S: Final = 30.0
# A job stops taking new work here, so that the batch in hand ends well before the soft limit.
_SHARE_OF_SOFT_LIMIT: Final = 0.6


@dataclass(slots=True)
class Counters:
    """What the iteration did with the rows it met."""

    seen: int = 0
    done: int = 0
    skipped: int = 0
    failed: int = 0

    def as_dict(self) -> dict[str, int]:
        return {"seen": self.seen, "done": self.done, "skipped": self.skipped, "failed": self.failed}


@dataclass(slots=True)
class Run:
    """One iteration in progress; `soft_s` is in seconds, `batch` the rows that a transaction takes."""

    iteration_id: str
    job: str
    scope: str
    db: Database
    soft_s: float
    batch: int
    counters: Counters = field(default_factory=Counters)
    started: float = field(default_factory=clock.monotonic)

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """A transaction that commits only while this iteration is open.

        Raises IterationOver when somebody has ended it meanwhile (this process was frozen, or the node was
        given up): a late writer changes nothing. No statement lasts longer than the soft limit, or 30 s.
        """
        with self.db.transaction() as session:
            bound = f"{min(self.soft_s, _LONGEST_STATEMENT_S) * 1000:.0f}ms"
            if session.execute(_FENCE, {"id": self.iteration_id, "bound": bound}).first() is None:
                raise IterationOver
            yield session
            crash.point("body.uncommitted", self.job)
        crash.point("body.committed", self.job)

    @property
    def has_time(self) -> bool:
        """Whether another batch may be taken."""
        return clock.monotonic() - self.started < self.soft_s * _SHARE_OF_SOFT_LIMIT
