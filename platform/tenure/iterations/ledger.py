"""START and END: two statements that decide, for everybody, whether a run began and how it ended.

START is also the lock. It claims the slot and inserts the iteration in one statement; the partial unique
index on open iterations makes a second run of the same job and scope impossible, and the slot then records
the overlap. END is a compare-and-set on the open row: child, parent and reaper may all call it, and exactly
one gets the row back. Each statement writes its event itself, because signals die with the process and rows
do not.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from psycopg.types.json import Jsonb

from tenure.kit.db import StatementDoor
from tenure.kit.ids import new_id


class Outcome(StrEnum):
    """How an iteration ended."""

    OK = "ok"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    KILLED = "killed"
    LOST = "lost"
    CANCELED = "canceled"


class EndedBy(StrEnum):
    """Who wrote the END."""

    CHILD = "child"
    PARENT = "parent"
    REAPER = "reaper"


@dataclass(frozen=True, slots=True)
class Started:
    """What START decided: `state` is the slot's, and only `started` means that the body may run."""

    state: str
    reason: str | None
    iteration_id: str
    slot_id: str
    job: str
    scope: str
    due_at: datetime
    attempt: int
    worker: str
    pid: int


@dataclass(frozen=True, slots=True)
class Ended:
    """The END as it was written, returned only to the writer that won."""

    iteration_id: str
    slot_id: str
    job: str
    scope: str
    attempt: int
    worker: str
    pid: int
    outcome: str
    ended_by: str
    duration_ms: int
    error_type: str | None
    counters: dict[str, int]
    quarantined: bool


_START: Final = """
WITH s AS (
    SELECT id, job, scope, due_at, attempt FROM slot
    WHERE id = %(slot)s AND state = 'pending' AND attempt = %(attempt)s
    FOR UPDATE
), q AS (
    SELECT 1 FROM quarantine JOIN s ON quarantine.job = s.job AND quarantine.scope = s.scope
), i AS (
    INSERT INTO iteration (id, slot_id, job, scope, due_at, attempt, max_attempts, owner, node_id, worker,
                           pid, deadline_at)
    SELECT %(iteration)s, id, job, scope, due_at, attempt, %(max_attempts)s, %(owner)s, %(node)s, %(worker)s,
           %(pid)s, clock_timestamp() + make_interval(secs => %(deadline_s)s)
    FROM s WHERE NOT EXISTS (SELECT 1 FROM q)
    ON CONFLICT DO NOTHING
    RETURNING id
), u AS (
    UPDATE slot
    SET state = CASE WHEN EXISTS (SELECT 1 FROM i) THEN 'started' ELSE 'skipped' END,
        reason = CASE WHEN EXISTS (SELECT 1 FROM i) THEN NULL
                      WHEN EXISTS (SELECT 1 FROM q) THEN 'quarantined' ELSE 'overlap' END,
        decided_at = clock_timestamp()
    FROM s WHERE slot.id = s.id
    RETURNING slot.id, slot.job, slot.scope, slot.due_at, slot.attempt, slot.count, slot.state, slot.reason
), told AS (
    INSERT INTO event (id, type, subject, channels, iteration_id, data)
    SELECT tenure_id('evt'),
           CASE state WHEN 'started' THEN 'iteration.started' ELSE 'slot.skipped' END,
           CASE state WHEN 'started' THEN 'iteration:' || %(iteration)s ELSE 'slot:' || id END,
           ARRAY['iterations', 'slot:' || id],
           CASE state WHEN 'started' THEN %(iteration)s END,
           jsonb_strip_nulls(jsonb_build_object(
               'slot_id', id, 'job', job, 'scope', scope, 'due_at', due_at, 'attempt', attempt,
               'iteration_id', CASE state WHEN 'started' THEN %(iteration)s END,
               'worker', CASE state WHEN 'started' THEN %(worker)s END,
               'pid', CASE state WHEN 'started' THEN %(pid)s END,
               'started_at', CASE state WHEN 'started' THEN clock_timestamp() END,
               'count', count, 'reason', reason))
    FROM u
)
SELECT state, reason, job, scope, due_at FROM u
"""

# What every END does beside the row itself; `e` holds the iterations that this statement ended.
_AFTER_END: Final = """
), retried AS (
    UPDATE slot SET state = 'pending', attempt = slot.attempt + 1, decided_at = NULL,
                    published_at = NULL, publish_after = clock_timestamp(), publish_tries = 0,
                    expires_at = clock_timestamp() + (slot.expires_at - slot.due_at)
    FROM e WHERE slot.id = e.slot_id AND e.outcome <> 'ok' AND e.attempt < e.max_attempts
), poisoned AS (
    -- The third kill in a row of the same job and scope: it is not started again until somebody looks.
    INSERT INTO quarantine (job, scope, reason)
    SELECT e.job, e.scope, 'killed its worker process three times in a row' FROM e
    WHERE e.outcome = 'killed' AND (
        SELECT count(*) FILTER (WHERE last.outcome = 'killed') FROM (
            SELECT outcome FROM iteration
            WHERE job = e.job AND scope = e.scope AND id <> e.id
              AND ended_at > clock_timestamp() - interval '1 day'
            ORDER BY id DESC LIMIT 2
        ) AS last) = 2
    ON CONFLICT DO NOTHING
    RETURNING job, scope
), told AS (
    INSERT INTO event (id, type, subject, channels, iteration_id, data)
    SELECT tenure_id('evt'), 'iteration.ended', 'iteration:' || id,
           ARRAY['iterations', 'slot:' || slot_id], id,
           jsonb_build_object(
               'iteration_id', id, 'slot_id', slot_id, 'job', job, 'scope', scope, 'attempt', attempt,
               'due_at', due_at, 'started_at', started_at, 'ended_at', ended_at, 'worker', worker, 'pid', pid,
               'outcome', outcome, 'ended_by', ended_by, 'error_type', error_type, 'counters', counters,
               'duration_ms', (extract(epoch FROM ended_at - started_at) * 1000)::bigint)
    FROM e
)
SELECT e.id AS iteration_id, e.slot_id, e.job, e.scope, e.attempt, e.worker, e.pid, e.outcome, e.ended_by,
       (extract(epoch FROM ended_at - started_at) * 1000)::bigint AS duration_ms, e.error_type, e.counters,
       EXISTS (SELECT 1 FROM poisoned p WHERE p.job = e.job AND p.scope = e.scope) AS quarantined
FROM e
"""

_END: Final = (
    """
WITH e AS (
    UPDATE iteration
    SET ended_at = clock_timestamp(), outcome = %(outcome)s, ended_by = %(ended_by)s,
        error_type = %(error_type)s, error_message = %(error_message)s,
        counters = coalesce(%(counters)s, counters)
    WHERE owner = %(owner)s AND ended_at IS NULL
    RETURNING *
"""
    + _AFTER_END
)

# An iteration is lost when its node's lease ran out or the node has left, or when its own deadline passed.
# Only who has held a lease itself for a whole lease may say so, and PostgreSQL must have been up as long:
# after an outage everybody's lease has run out. The moment of the verdict is when the statement arrived: one
# that an outage caught on its way speaks of the time before it.
_REAP: Final = (
    """
WITH dead AS (
    SELECT i.id,
           CASE WHEN i.deadline_at < statement_timestamp() THEN 'DeadlinePassed' ELSE 'NodeLost' END
               AS error_type
    FROM node judge CROSS JOIN iteration i LEFT JOIN node n ON n.id = i.node_id
    WHERE i.ended_at IS NULL
      AND (i.deadline_at < statement_timestamp() OR n.id IS NULL OR n.stopped_at IS NOT NULL
           OR n.lease_until < statement_timestamp())
      AND judge.id = %(judge)s AND judge.lease_until >= statement_timestamp()
      AND judge.leased_since <= statement_timestamp() - make_interval(secs => %(lease_s)s)
      AND pg_postmaster_start_time() < statement_timestamp() - make_interval(secs => %(lease_s)s)
    ORDER BY i.id LIMIT 100
    FOR UPDATE OF i SKIP LOCKED
), e AS (
    UPDATE iteration i
    SET ended_at = clock_timestamp(), outcome = 'lost', ended_by = 'reaper', error_type = dead.error_type
    FROM dead WHERE i.id = dead.id AND i.ended_at IS NULL
    RETURNING i.*
"""
    + _AFTER_END
)

_FORSAKE: Final = """
UPDATE slot SET attempt = attempt + 1, publish_after = clock_timestamp(), published_at = NULL
WHERE id = %(slot)s AND state = 'pending' AND attempt = %(attempt)s
"""


@dataclass(frozen=True, slots=True)
class Caller:
    """The process that runs: `owner` is the parent's nonce for this delivery of the message."""

    owner: str
    node_id: str
    worker: str
    pid: int


def start(
    door: StatementDoor,
    *,
    slot_id: str,
    attempt: int,
    caller: Caller,
    deadline_s: float,
    max_attempts: int = 1,
) -> Started | None:
    """Record the START of this slot's attempt, or why it does not start. None: decided before, drop it.

    `deadline_s` is when the reaper may call the run lost although its node lives. An END other than ok gives
    the slot its next attempt while there are fewer than `max_attempts`, whoever writes it. Raises
    Unavailable when the answer is lost: then nobody knows whether the run began; `forsake()` settles it.
    """
    iteration_id = new_id("itr")
    rows = door.run_prepared(
        _START,
        {
            "slot": slot_id,
            "attempt": attempt,
            "iteration": iteration_id,
            "owner": caller.owner,
            "node": caller.node_id,
            "worker": caller.worker,
            "pid": caller.pid,
            "deadline_s": deadline_s,
            "max_attempts": max_attempts,
        },
    )
    if not rows:
        return None
    return Started(
        iteration_id=iteration_id,
        slot_id=slot_id,
        attempt=attempt,
        worker=caller.worker,
        pid=caller.pid,
        **rows[0],
    )


def forsake(door: StatementDoor, *, slot_id: str, attempt: int, owner: str) -> Ended | None:
    """Settle a START whose answer was lost: it either never takes effect, or ends as failed.

    First the attempt is raised, so that a START still on its way matches nothing; then whatever it may have
    inserted is ended by its owner.
    """
    door.run(_FORSAKE, {"slot": slot_id, "attempt": attempt})
    return end(door, owner=owner, outcome=Outcome.FAILED, ended_by=EndedBy.CHILD, error_type="StartUnknown")


def end(
    door: StatementDoor,
    *,
    owner: str,
    outcome: Outcome,
    ended_by: EndedBy,
    error_type: str | None = None,
    error_message: str | None = None,
    counters: dict[str, int] | None = None,
) -> Ended | None:
    """Record the END, once. Returns it to the one caller that wrote it, None to everybody else.

    A non-ok END of a run with attempts left makes the slot pending again in the same statement.
    """
    rows = door.run_prepared(
        _END,
        {
            "owner": owner,
            "outcome": outcome.value,
            "ended_by": ended_by.value,
            "error_type": error_type,
            "error_message": error_message,
            "counters": Jsonb(counters) if counters is not None else None,
        },
    )
    return Ended(**rows[0]) if rows else None


def reap(door: StatementDoor, *, judge: str, lease_s: float) -> list[Ended]:
    """End what nobody can end any more, as lost. Safe to run anywhere, any number of times.

    `judge` is the caller's node. It finds nobody lost unless it has held its own lease without a gap for
    `lease_s` seconds: until then it cannot know who else was without PostgreSQL.
    """
    return [Ended(**row) for row in door.run(_REAP, {"judge": judge, "lease_s": lease_s})]
