"""Whether a stack has come to rest: nothing is owed any more, and every job runs again."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from tenure.chaos.throwaway import Stack
from tenure.errors import Unavailable
from tenure.kit import clock
from tenure.kit.db import StatementDoor

_STEP_S: Final = 0.5
# What is owed, each a count. Work that is merely young does not count: jobs go on every second.
_OWED: Final = """
SELECT
  (SELECT count(*) FROM provisioning WHERE state = 'pending') AS provisioning,
  (SELECT count(*) FROM notice WHERE state = 'sending'
      OR (state = 'planned' AND next_at < clock_timestamp())) AS notices,
  (SELECT count(*) FROM inbound_event WHERE processed_at IS NULL) AS inbox,
  (SELECT count(*) FROM payment WHERE status = 'seen'
      OR (status = 'confirmed' AND match = 'matched' AND credited_at IS NULL)) AS payments,
  (SELECT count(*) FROM outbox WHERE state = 'ready' AND available_at < clock_timestamp()) AS outbox,
  (SELECT count(*) FROM event_pending p JOIN event e ON e.id = p.event_id
    WHERE e.ts < clock_timestamp() - interval '2 seconds') AS events,
  (SELECT count(*) FROM slot WHERE state = 'pending' AND due_at < clock_timestamp() - interval '5 seconds')
    AS slots,
  (SELECT count(*) FROM iteration i LEFT JOIN node n ON n.id = i.node_id
    WHERE i.ended_at IS NULL
      AND (n.id IS NULL OR n.stopped_at IS NOT NULL OR n.lease_until < clock_timestamp())) AS orphans,
  (SELECT count(*) FROM quarantine) AS quarantined,
  (SELECT count(*) FROM unnest(%(jobs)s::text[]) AS wanted(job)
    WHERE NOT EXISTS (SELECT 1 FROM iteration i
                      WHERE i.job = wanted.job AND i.outcome = 'ok'
                        AND i.started_at > clock_timestamp() - make_interval(secs => %(for_s)s)))
    AS jobs_not_running
"""
JOBS: Final = ("payment_watcher", "activation", "expiry", "reminders", "trial_notifications", "notices")


def owed(door: StatementDoor, *, for_s: float, jobs: Sequence[str] = JOBS) -> dict[str, int]:
    """What is still owed, by kind; empty when nothing is.

    A job counts as running when one of its iterations that began in the last `for_s` seconds ended well.
    """
    (row,) = door.run(_OWED, {"jobs": list(jobs), "for_s": for_s})
    return {name: count for name, count in row.items() if count}


@dataclass(frozen=True, slots=True)
class Rest:
    """How a stack came to rest: after so many seconds, with `left` still owed (empty: nothing).

    `path` is what was owed on the way, `(seconds, owed)` each time it changed.
    """

    took_s: float
    left: dict[str, Any]
    path: tuple[tuple[float, dict[str, Any]], ...]


def until_quiet(stack: Stack, *, within_s: float) -> Rest:
    """Wait until every role is ready and nothing is owed, but no longer than that."""
    began, pause = clock.monotonic(), threading.Event()
    path: list[tuple[float, dict[str, Any]]] = []
    door = StatementDoor(stack.database_url, application="tenure-chaos-quiet", statement_timeout_s=10)
    try:
        while True:
            took = clock.monotonic() - began
            left = _left(stack, door, took)
            if left and (not path or set(path[-1][1]) != set(left)):
                path.append((round(took, 1), left))
            if not left or took > within_s:
                return Rest(round(took, 2), left, tuple(path))
            pause.wait(_STEP_S)
    finally:
        door.close()


def _left(stack: Stack, door: StatementDoor, took: float) -> dict[str, Any]:
    if not stack.ready:
        return {"roles": sorted(role.name for role in stack.roles().values() if role.state != "ready")}
    try:
        return dict(owed(door, for_s=max(took, 0.1)))
    except Unavailable as error:
        return {"database": error.message}
