"""Retention: old history of machines goes, everything else stays, and no batch is ever half done."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from tenure.errors import IterationOver
from tenure.events import order
from tenure.events.queries import events
from tenure.iterations.run import Run
from tenure.kit.db import Database
from tenure.retention import forget
from tenure.webhooks.fan_out import fan_out
from tests.support import builders, services
from tests.support.waiting import until

INTERNAL = ["canary", "retention"]
LEDGER = ("slot", "iteration", "event", "event_seq", "event_channel")

_SLOT = text("""
    WITH moment AS (
        SELECT clock_timestamp() - make_interval(days => :days) + n * interval '1 second' AS at, n
        FROM generate_series(1, :number) AS n
    ), s AS (
        INSERT INTO slot (id, job, due_at, origin, state, reason, expires_at, created_at)
        SELECT 'slt_' || lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0')
                   || right(replace(gen_random_uuid()::text, '-', ''), 16),
               :job, at, 'schedule', :state, CASE :state WHEN 'skipped' THEN 'overlap' END, at, at
        FROM moment RETURNING id, due_at
    ), i AS (
        INSERT INTO iteration (id, slot_id, job, scope, due_at, attempt, owner, node_id, worker, pid,
                               started_at, deadline_at, ended_at, outcome, ended_by, counters)
        SELECT replace(id, 'slt', 'itr'), id, :job, CASE WHEN :outcome = 'open' THEN id ELSE '' END, due_at,
               1, id, :node, 'w@here', 1, due_at, due_at,
               CASE WHEN :outcome <> 'open' THEN due_at END,
               CASE WHEN :outcome <> 'open' THEN :outcome END, CASE WHEN :outcome <> 'open' THEN 'child' END,
               jsonb_build_object('seen', 0, 'done', CAST(:done AS int), 'skipped', 0, 'failed', 0)
        FROM s WHERE :state = 'started'
    )
    INSERT INTO event (id, type, subject, channels, ts, data)
    SELECT tenure_id('evt'), kind, 'slot:' || id, ARRAY['iterations', 'slot:' || id], due_at, '{}'
    FROM s CROSS JOIN unnest(CASE :state WHEN 'started' THEN ARRAY['iteration.started', 'iteration.ended']
                             ELSE ARRAY['slot.skipped'] END) AS kind
    RETURNING subject
""")


def past(
    db: Database,
    job: str,
    days: int,
    *,
    number: int = 1,
    outcome: str = "ok",
    done: int = 0,
    state: str = "started",
    node: str = "node-1",
) -> set[str]:
    """Slots of the job from so many days ago, with their iterations and events; their ids."""
    with db.transaction() as session:
        given = {
            "job": job,
            "days": days,
            "number": number,
            "outcome": outcome,
            "done": done,
            "state": state,
            "node": node,
        }
        return {subject.removeprefix("slot:") for subject in session.scalars(_SLOT, given)}


def place(db: Database, *, newer: int = 10_000) -> None:
    """Every event has its place and was read for webhooks, with so many newer ones behind it."""
    with db.transaction() as session:
        order.number_pending(session, limit=100_000)
        session.execute(
            text("""
                INSERT INTO event (id, type, subject, channels)
                SELECT tenure_id('evt'), 'test.later', 'test:x', '{system}' FROM generate_series(1, :n)
            """),
            {"n": newer},
        )
        order.number_pending(session, limit=100_000)
        fan_out(session, limit=100_000)


def retain(db: Database, *, batch: int = 1000, soft_s: float = 60) -> Run:
    run = builders.run(db, "retention", batch=batch, soft_s=soft_s)
    forget.run(run, internal_jobs=INTERNAL)
    return run


def slots(db: Database) -> set[str]:
    return {row.id for row in builders.rows(db, "SELECT id FROM slot WHERE job <> 'retention'")}


def count(db: Database, table: str, where: str = "true") -> int:
    return int(builders.rows(db, f"SELECT count(*) AS n FROM {table} WHERE {where}")[0].n)


def assert_ledger_whole(db: Database) -> None:
    """No iteration without its slot, no started slot without iteration, no event of a slot that is gone."""
    without_iteration = "state = 'started' AND NOT EXISTS (SELECT 1 FROM iteration WHERE slot_id = s.id)"
    assert count(db, "slot s", without_iteration) == 0
    without_slot = """(type LIKE 'iteration.%' OR type LIKE 'slot.%')
                      AND NOT EXISTS (SELECT 1 FROM slot WHERE 'slot:' || id = e.subject)"""
    assert count(db, "event e", without_slot) == 0
    by_slot = builders.rows(
        db,
        """SELECT s.id, count(e.id) AS n FROM slot s LEFT JOIN event e ON e.subject = 'slot:' || s.id
           WHERE s.job <> 'retention' GROUP BY s.id, s.state HAVING count(e.id) <>
           CASE s.state WHEN 'started' THEN 2 ELSE 1 END""",
    )
    assert by_slot == []


def test_old_slots_go_with_their_iterations_and_events_and_others_stay(db: Database) -> None:
    gone = set().union(
        past(db, "canary", 8),
        past(db, "canary", 8, outcome="failed"),
        past(db, "canary", 8, state="skipped"),
        past(db, "payment_watcher", 8),
        past(db, "expiry", 91, outcome="failed"),
        past(db, "expiry", 91, done=3),
        past(db, "expiry", 91, state="skipped"),
        past(db, "a_job_of_an_older_version", 91),
    )
    kept = set().union(
        past(db, "canary", 6),
        past(db, "payment_watcher", 6),
        past(db, "payment_watcher", 8, done=1),
        past(db, "expiry", 8, outcome="timed_out"),
        past(db, "expiry", 89, state="skipped"),
        past(db, "canary", 100, outcome="open"),
        past(db, "expiry", 100, outcome="open"),
    )
    place(db)
    run = retain(db)
    assert slots(db) == kept
    assert (run.counters.seen, run.counters.done) == (len(gone), len(gone))
    assert_ledger_whole(db)


def test_a_second_pass_deletes_nothing(db: Database) -> None:
    past(db, "canary", 8, number=5)
    past(db, "expiry", 8, outcome="failed")
    place(db)
    assert retain(db).counters.done == 5
    again = retain(db)
    assert (again.counters.seen, again.counters.done) == (0, 0)


def test_the_newest_events_stay_and_the_last_place_is_never_given_again(db: Database) -> None:
    past(db, "canary", 8, number=3)
    place(db, newer=9_995)  # the six events above are then six of the newest 10,001
    assert retain(db).counters.done == 0
    place(db, newer=10)
    top = count(db, "event_seq")
    assert retain(db).counters.done == 3
    with db.transaction() as session:
        assert order.last_seq(session) == top
        page = events(session, after=0, limit=5)
    assert [item["seq"] for item in page["items"]] == [7, 8, 9, 10, 11]
    place(db, newer=1)
    with db.transaction() as session:
        assert order.last_seq(session) == top + 1


def test_events_without_a_place_or_unread_for_webhooks_keep_their_slots(db: Database) -> None:
    past(db, "canary", 8)
    with db.transaction() as session:
        session.execute(
            text("""
                INSERT INTO event (id, type, subject, channels)
                SELECT tenure_id('evt'), 'test.x', 't:x', '{}' FROM generate_series(1, 20000)
            """)
        )
    assert count(db, "event_pending") == 20_002
    assert retain(db).counters.done == 0
    with db.transaction() as session:
        order.number_pending(session, limit=100_000)
    assert retain(db).counters.done == 0
    with db.transaction() as session:
        fan_out(session, limit=100_000)
    assert retain(db).counters.done == 1


def test_spent_keys_sessions_nodes_messages_and_alerts_go_and_live_ones_stay(db: Database) -> None:
    past(db, "canary", 1, outcome="open", node="nod_open")
    with db.transaction() as session:
        session.execute(
            text("""
            INSERT INTO app_user (id, email, password_hash, role) VALUES ('usr_1', 'a@b.test', 'x', 'viewer');
            INSERT INTO idempotency_key (actor, key, request_hash, expires_at)
            SELECT 'a', name, 'h', clock_timestamp() + at::interval
            FROM (VALUES ('gone', '-1 s'), ('kept', '1 hour')) AS given (name, at);
            INSERT INTO session (id, user_id, expires_at, revoked_at)
            SELECT name, 'usr_1', clock_timestamp() + ends::interval, clock_timestamp() + revoked::interval
            FROM (VALUES ('gone-1', '-8 days', NULL), ('gone-2', '9 days', '-8 days'),
                         ('kept-1', '-6 days', NULL), ('kept-2', '9 days', '-6 days'),
                         ('kept-3', '9 days', NULL)) AS given (name, ends, revoked);
            INSERT INTO node (id, role, name, host, pid, version, lease_until)
            SELECT name, 'worker', 'w', 'h', 1, '0', clock_timestamp() + at::interval
            FROM (VALUES ('gone', '-8 days'), ('kept', '-6 days'), ('nod_open', '-8 days'))
                 AS given (name, at);
            INSERT INTO outbox (id, topic, dedupe_key, payload, state, done_at, created_at)
            SELECT name, 't', name, '{}', state, clock_timestamp() + at::interval, now() - interval '99 days'
            FROM (VALUES ('gone', 'done', '-31 days'), ('kept-1', 'done', '-29 days'),
                         ('kept-2', 'ready', NULL), ('kept-3', 'dead', NULL),
                         ('kept-4', 'unknown', '-99 days')) AS given (name, state, at);
            INSERT INTO alert (id, rule, subject, message, data, since, resolved_at)
            SELECT name, 'r', name, 'm', '{}', now() - interval '999 days', clock_timestamp() + at::interval
            FROM (VALUES ('gone', '-91 days'), ('kept-1', '-89 days'), ('kept-2', NULL)) AS given (name, at);
            INSERT INTO webhook_endpoint (id, url, types, secret_sealed, after_n)
            VALUES ('whe_1', 'https://x.test', '{*}', 'x', 0);
            INSERT INTO event (id, type, subject) VALUES ('gone', 't', 't:1'), ('kept-1', 't', 't:2'),
                                                         ('kept-2', 't', 't:3');
            INSERT INTO webhook_delivery (id, endpoint_id, event_id, type, state, delivered_at, created_at)
            SELECT name, 'whe_1', name, 't', state, clock_timestamp() + at::interval,
                   now() - interval '99 days'
            FROM (VALUES ('gone', 'delivered', '-31 days'), ('kept-1', 'delivered', '-29 days'),
                         ('kept-2', 'dead', NULL)) AS given (name, state, at);
        """)
        )
    run = retain(db)
    kept = {
        "session": ["kept-1", "kept-2", "kept-3"],
        "node": ["kept", "nod_open"],
        "outbox": ["kept-1", "kept-2", "kept-3", "kept-4"],
        "alert": ["kept-1", "kept-2"],
        "webhook_delivery": ["kept-1", "kept-2"],
    }
    for table, ids in kept.items():
        assert [row.id for row in builders.rows(db, f"SELECT id FROM {table} ORDER BY id")] == ids, table
    assert [row.key for row in builders.rows(db, "SELECT key FROM idempotency_key")] == ["kept"]
    assert run.counters.done == 7
    assert count(db, "event", "id = 'gone'") == 1  # an event that is no slot's stays for ever


def test_domain_rows_and_their_events_are_never_touched(db: Database) -> None:
    for status in ("active", "canceled", "trialing"):
        builders.subscription(db, status=status)
    with db.transaction() as session:
        session.execute(text("UPDATE event SET ts = ts - interval '999 days'"))
    place(db)
    tables = [
        row.name
        for row in builders.rows(db, "SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public'")
        if row.name not in {"slot", "iteration"}
    ]
    assert count(db, "event", "type LIKE 'subscription.%'") > 3
    before = {table: count(db, table) for table in tables}
    assert retain(db).counters.done == 0
    assert {table: count(db, table) for table in tables} == before


class _Hurried(Run):
    """Its time is up in its eleventh transaction."""

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        with super().transaction() as session:
            yield session
        if self.counters.done >= 10:
            self.started -= self.soft_s


def test_a_backlog_goes_in_batches_and_only_while_there_is_time(db: Database) -> None:
    with db.transaction() as session:
        session.execute(
            text("""
                INSERT INTO idempotency_key (actor, key, request_hash, expires_at)
                SELECT 'a', n::text, 'h', now() - interval '1 s' FROM generate_series(1, 5000) AS n
            """)
        )
    past(db, "canary", 8, number=250)
    place(db)
    assert retain(db, soft_s=0).counters.done == 0
    begun = builders.run(db, "retention")
    hurried = _Hurried(begun.iteration_id, begun.job, begun.scope, db, soft_s=60, batch=1)
    forget.run(hurried, internal_jobs=INTERNAL)
    assert hurried.counters.done == 11
    assert len(slots(db)) == 250
    rest = retain(db, batch=100)
    assert rest.counters.done == 5250 - hurried.counters.done
    assert slots(db) == set()
    assert_ledger_whole(db)


def test_an_iteration_that_was_ended_by_somebody_else_deletes_nothing_more(db: Database) -> None:
    kept = past(db, "canary", 8)
    place(db)
    run = builders.run(db, "retention")
    builders.end_runs(db, "retention")
    with pytest.raises(IterationOver):
        forget.run(run, internal_jobs=INTERNAL)
    assert slots(db) == kept


_CHILD = """
import sys
from tenure.iterations.run import Run
from tenure.kit.db import Database
from tenure.retention import forget
db = Database(sys.argv[1], pool_size=1, application="tenure-retention-test")
run = Run(iteration_id=sys.argv[2], job="retention", scope="", db=db, soft_s=60, batch=10)
forget.run(run, internal_jobs=["canary", "retention"])
"""


def test_a_pass_killed_inside_a_batch_leaves_that_batch_whole(db: Database, database_url: str) -> None:
    ids = sorted(past(db, "canary", 8, number=30))
    place(db)
    run = builders.run(db, "retention")
    waits = "application_name = 'tenure-retention-test' AND wait_event_type = 'Lock'"
    with psycopg.connect(database_url) as holder:
        # The second batch cannot delete this iteration; its events it has already deleted by then.
        holder.execute("SELECT 1 FROM iteration WHERE slot_id = %s FOR UPDATE", [ids[14]])
        child: subprocess.Popen[Any] = subprocess.Popen(
            [sys.executable, "-c", _CHILD, database_url, run.iteration_id],
            cwd=services.ROOT,
            env=dict(services.environment()),
        )
        try:
            until(lambda: count(db, "pg_stat_activity", waits) == 1, within_s=60, what="it waits in a batch")
        finally:
            child.kill()
        assert child.wait(10) == -signal.SIGKILL
        holder.rollback()
    gone = "application_name = 'tenure-retention-test'"
    until(lambda: count(db, "pg_stat_activity", gone) == 0, within_s=20, what="its transaction is over")
    assert slots(db) == set(ids[10:])
    assert_ledger_whole(db)
    assert retain(db).counters.done == 20
    assert slots(db) == set()
    assert_ledger_whole(db)
