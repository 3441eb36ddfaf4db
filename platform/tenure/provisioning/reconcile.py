"""The job `activation`: brings access at the provisioner to the desired state.

Level-triggered: what is read is the state that shall be, not a message about a change. A thread locks a few
rows, asks for each, and writes what came of it by comparing generations; a row that changed meanwhile stays
pending. Two threads take nothing but accounts whose owners have just paid, so that these never wait behind
an import or a mass expiry. Everything may be repeated: the provisioner keeps the highest generation.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from tenure.alerts.raise_alert import raise_alert, resolve_alert
from tenure.events.append import append, subscription_event
from tenure.iterations.crew import Crew
from tenure.iterations.run import Run
from tenure.kit import crash
from tenure.kit.ids import new_id
from tenure.kit.retry import Backoff, repeating
from tenure.kit.times import rfc3339
from tenure.provisioning.ports import (
    Account,
    Applied,
    Blocked,
    NotAsked,
    Outcome,
    Provisioner,
    Retry,
    Superseded,
)

BLOCKED_ALERT: Final = "provisioning_blocked"
_THREADS: Final = 8
_FOR_PAYERS: Final = 2
_CHUNK: Final = 8
# Longer than a chunk of calls that all time out.
_LEASE_S: Final = 100
_BACKOFF: Final = Backoff(first_s=2, cap_s=300)
# So many failures in a row: the provisioner is down, and the rest need not ask it now.
_GIVE_UP_AFTER: Final = 20
_LOOK_FOR_PAYERS_S: Final = 0.1
_LONGEST_ERROR: Final = 300

_DUE: Final = """state = 'pending' AND next_at <= clock_timestamp()
      AND (locked_until IS NULL OR locked_until <= clock_timestamp())"""

_CLAIM: Final = text(f"""
    WITH due AS (
        SELECT subscription_id FROM provisioning WHERE {_DUE} AND priority <= :lowest
        ORDER BY priority, next_at LIMIT :chunk FOR NO KEY UPDATE SKIP LOCKED
    )
    UPDATE provisioning p
    SET locked_until = clock_timestamp() + :lease_s * interval '1 second', locked_by = :iteration_id,
        lock_token = :token
    FROM due WHERE p.subscription_id = due.subscription_id
    RETURNING p.subscription_id, p.desired_generation, p.enabled, p.access_until, p.plan_code, p.external_id,
              p.email, p.attempts, p.priority, p.next_at
""")
_WAITING: Final = text(f"SELECT count(*) FROM (SELECT 1 FROM provisioning WHERE {_DUE} LIMIT :most) AS due")

# Locks of iterations that are over hold nobody back.
_UNLOCK_ORPHANS: Final = text("""
    UPDATE provisioning p SET locked_until = NULL, locked_by = NULL, lock_token = NULL
    FROM iteration i WHERE p.locked_by IS NOT NULL AND i.id = p.locked_by AND i.ended_at IS NOT NULL
""")
_MENDED: Final = text("""
    SELECT a.subject FROM alert a
    WHERE a.rule = :rule AND a.resolved_at IS NULL AND NOT EXISTS (
        SELECT 1 FROM provisioning p
        WHERE 'subscription:' || p.subscription_id = a.subject AND p.state = 'blocked')
""")

_LOCK: Final = text("""
    SELECT 1 FROM provisioning WHERE subscription_id = ANY(:ids) ORDER BY subscription_id FOR NO KEY UPDATE
""")
# What was applied is a fact whoever holds the lock now; everything else only speaks for the generation that
# was sent, and only while the lock is ours.
_SETTLE: Final = text("""
    UPDATE provisioning p
    SET applied_generation = CASE WHEN n.outcome = 'applied' THEN greatest(p.applied_generation, n.generation)
                                  ELSE p.applied_generation END,
        desired_generation = CASE WHEN n.outcome = 'superseded'
                                  THEN greatest(p.desired_generation, n.newer + 1)
                                  ELSE p.desired_generation END,
        state = CASE WHEN n.outcome = 'applied'
                          AND greatest(p.applied_generation, n.generation) = p.desired_generation
                     THEN 'in_sync'
                     WHEN n.outcome = 'superseded' THEN 'pending'
                     WHEN n.outcome = 'blocked' AND p.desired_generation = n.generation
                          AND p.state = 'pending' THEN 'blocked'
                     ELSE p.state END,
        attempts = CASE WHEN n.outcome = 'applied' THEN 0
                        WHEN n.outcome IN ('retry', 'blocked') AND p.desired_generation = n.generation
                        THEN p.attempts + 1 ELSE p.attempts END,
        next_at = CASE WHEN n.outcome = 'retry' AND p.desired_generation = n.generation
                       THEN clock_timestamp() + n.delay_s * interval '1 second' ELSE p.next_at END,
        last_error = CASE WHEN n.outcome = 'applied' THEN NULL
                          WHEN p.desired_generation = n.generation THEN coalesce(n.error, p.last_error)
                          ELSE p.last_error END,
        applied_at = CASE WHEN n.outcome = 'applied' THEN clock_timestamp() ELSE p.applied_at END,
        locked_until = CASE WHEN p.lock_token = :token THEN NULL ELSE p.locked_until END,
        locked_by = CASE WHEN p.lock_token = :token THEN NULL ELSE p.locked_by END,
        lock_token = CASE WHEN p.lock_token = :token THEN NULL ELSE p.lock_token END
    FROM jsonb_to_recordset(CAST(:results AS jsonb))
         AS n(subscription_id text, generation bigint, outcome text, newer bigint, delay_s float8, error text)
    WHERE p.subscription_id = n.subscription_id AND (p.lock_token = :token OR n.outcome = 'applied')
    RETURNING p.subscription_id, n.generation, n.outcome, n.error, p.state
""")


@dataclass(frozen=True, slots=True)
class _Claimed:
    account: Account
    attempts: int
    order: tuple[int, datetime]


@dataclass(slots=True)
class _Health:
    """How many calls failed in a row, over all threads."""

    failures: int = 0


def run(run: Run, provisioner: Provisioner | None) -> None:
    """Ask for everything that is due, or as much as there is time for.

    Without a provisioner nothing is claimed: the rows wait, and are counted as skipped.
    """
    with run.transaction() as session:
        session.execute(_UNLOCK_ORPHANS)
        for subject in session.scalars(_MENDED, {"rule": BLOCKED_ALERT}).all():
            resolve_alert(session, rule=BLOCKED_ALERT, subject=subject)
        waiting = session.execute(_WAITING, {"most": run.batch}).scalar_one()
    if provisioner is None:
        run.counters.seen = run.counters.skipped = waiting
        return
    if not waiting:
        return
    crew = Crew(run)
    health = _Health()
    busy = [True] * min(_THREADS - _FOR_PAYERS, waiting)
    bodies = [partial(_for_all, provisioner, health, busy, number) for number in range(len(busy))]
    crew.work([*bodies, *[partial(_for_payers, provisioner, health, busy)] * _FOR_PAYERS])


def _for_all(provisioner: Provisioner, health: _Health, busy: list[bool], number: int, crew: Crew) -> None:
    try:
        while crew.goes_on and _chunk(crew, provisioner, health, size=_CHUNK, lowest=9):
            continue
    finally:
        busy[number] = False


def _for_payers(provisioner: Provisioner, health: _Health, busy: list[bool], crew: Crew) -> None:
    while crew.goes_on and any(busy):
        if not _chunk(crew, provisioner, health, size=1, lowest=0):
            crew.rest(_LOOK_FOR_PAYERS_S)


def _chunk(crew: Crew, provisioner: Provisioner, health: _Health, *, size: int, lowest: int) -> bool:
    """Take a few rows through all three steps; whether there were any."""
    token = new_id("lck")
    with crew.transaction() as session:
        claimed = _claim(session, crew.run.iteration_id, token, size=size, lowest=lowest)
    if not claimed:
        return False
    results = [(one, _ask(crew, provisioner, health, one)) for one in claimed]
    with crew.transaction() as session:
        _settle(session, results, token, crew.run.iteration_id)
    outcomes = [outcome for _, outcome in results]
    crew.count(
        seen=len(outcomes),
        done=sum(isinstance(outcome, Applied) for outcome in outcomes),
        failed=sum(isinstance(outcome, Retry | Blocked) for outcome in outcomes),
        skipped=sum(outcome is None or isinstance(outcome, Superseded) for outcome in outcomes),
    )
    return True


def _claim(session: Session, iteration_id: str, token: str, *, size: int, lowest: int) -> list[_Claimed]:
    rows = session.execute(
        _CLAIM,
        {
            "chunk": size,
            "lowest": lowest,
            "lease_s": _LEASE_S,
            "iteration_id": iteration_id,
            "token": token,
        },
    )
    claimed = [
        _Claimed(
            account=Account(
                subscription_id=row.subscription_id,
                generation=row.desired_generation,
                enabled=row.enabled,
                access_until=row.access_until,
                plan=row.plan_code,
                external_id=row.external_id,
                email=row.email,
            ),
            attempts=row.attempts,
            order=(row.priority, row.next_at),
        )
        for row in rows
    ]
    return sorted(claimed, key=lambda one: one.order)


def _ask(crew: Crew, provisioner: Provisioner, health: _Health, one: _Claimed) -> Outcome | None:
    """What the provisioner said; None when it was not asked any more."""
    if not crew.goes_on:
        return None
    crash.point("call.claimed")
    with repeating(one.attempts > 0):
        outcome = provisioner.put_account(one.account)
    crash.point("call.answered")
    if isinstance(outcome, NotAsked):
        # Nothing was tried, so nothing is counted: the rows wait as they were, for the next pass.
        crew.stop()
        return None
    health.failures = health.failures + 1 if isinstance(outcome, Retry) else 0
    if health.failures >= _GIVE_UP_AFTER:
        crew.stop()
    return outcome


def _settle(
    session: Session, results: list[tuple[_Claimed, Outcome | None]], token: str, iteration_id: str
) -> None:
    session.execute(_LOCK, {"ids": [one.account.subscription_id for one, _ in results]})
    told = [_told(one, outcome) for one, outcome in results]
    settled = session.execute(_SETTLE, {"results": json.dumps(told), "token": token}).all()
    accounts = {one.account.subscription_id: one.account for one, _ in results}
    events = []
    for row in settled:
        account = accounts[row.subscription_id]
        data: dict[str, Any] = {
            "generation": account.generation,
            "enabled": account.enabled,
            "access_until": rfc3339(account.access_until),
        }
        if row.outcome == "applied":
            events.append(("provisioning.applied", row.subscription_id, data))
        elif row.outcome == "blocked" and row.state == "blocked":
            events.append(("provisioning.blocked", row.subscription_id, {**data, "error": row.error}))
            raise_alert(
                session,
                rule=BLOCKED_ALERT,
                subject=f"subscription:{row.subscription_id}",
                message=f"the provisioner refuses {row.subscription_id}: {row.error}",
                data={"generation": account.generation},
            )
    append(
        session,
        [subscription_event(type_, id_, data, iteration_id=iteration_id) for type_, id_, data in events],
    )


def _told(one: _Claimed, outcome: Outcome | None) -> dict[str, Any]:
    told: dict[str, Any] = {
        "subscription_id": one.account.subscription_id,
        "generation": one.account.generation,
    }
    match outcome:
        case None | NotAsked():
            return told | {"outcome": "released"}
        case Applied():
            return told | {"outcome": "applied"}
        case Superseded(generation=newer):
            return told | {"outcome": "superseded", "newer": newer}
        case Retry(reason=reason, after_s=after_s):
            delay_s = _BACKOFF.delay_s(one.attempts + 1, at_least_s=after_s)
            return told | {"outcome": "retry", "delay_s": delay_s, "error": reason[:_LONGEST_ERROR]}
        case Blocked(status=status, excerpt=excerpt):
            error = f"status {status}: {excerpt}" if status else excerpt
            return told | {"outcome": "blocked", "error": error[:_LONGEST_ERROR]}
