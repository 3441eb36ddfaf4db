"""Metrics come from the record, count every run once, and never read its history to do so."""

from __future__ import annotations

import json

import pytest
import redis
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import text

from bench.verify import load
from tenure.exporter import render
from tenure.iterations import alerting, ledger, slots, tally
from tenure.iterations.catalog import Job
from tenure.iterations.ledger import Caller, EndedBy, Outcome
from tenure.iterations.node import Node
from tenure.kit.db import Database, StatementDoor
from tenure.kit.valkey import connect
from tenure.settings import Settings
from tests.support import builders as build

JOB = Job("sleep", "Sleep", None, 5, 10)
HISTORY = ("iteration", "slot", "event", "event_seq")


def a_run(db: Database, door: StatementDoor, node: Node, owner: str, outcome: Outcome | None) -> None:
    """One that ends so, or that finds another one open and is skipped."""
    with db.transaction() as session:
        slot = slots.request_run(session, JOB).slot_id
    caller = Caller(owner=owner, node_id=node.id, worker="w", pid=1)
    ledger.start(door, slot_id=slot, attempt=1, caller=caller, deadline_s=60)
    if outcome is not None:
        ledger.end(door, owner=owner, outcome=outcome, ended_by=EndedBy.CHILD, error_type="Why")


def told(db: Database, live: redis.Redis) -> dict[tuple[str, str], float]:
    """The counters of runs, by their name and the last label."""
    rendered = render.render(Settings(), db, live, live).decode()
    return {
        (sample.name, list(sample.labels.values())[-1]): sample.value
        for family in text_string_to_metric_families(rendered)
        for sample in family.samples
        if sample.name.startswith(("tenure_iterations_", "tenure_slots_skipped"))
        and sample.labels
        and sample.labels["job"] == JOB.name
    }


def test_every_run_is_counted_once_before_and_after_it_is_folded_and_forgotten(db, door, node, live_url):
    live = connect(live_url)
    a_run(db, door, node, "one", Outcome.OK)
    a_run(db, door, node, "two", Outcome.FAILED)
    a_run(db, door, node, "open", None)
    a_run(db, door, node, "late", None)
    build.give_places(db)
    expected = {
        ("tenure_iterations_started_total", "sleep"): 3,
        ("tenure_iterations_ended_total", "ok"): 1,
        ("tenure_iterations_ended_total", "failed"): 1,
        ("tenure_slots_skipped_total", "overlap"): 1,
        ("tenure_iterations_open", "sleep"): 1,
    }
    assert told(db, live) == expected
    alerting.run(build.run(db, "alerting"))
    assert build.rows(db, "SELECT seq FROM tally_mark") == build.rows(db, "SELECT max(seq) FROM event_seq")
    assert told(db, live) == expected
    # What is folded no longer needs its events.
    with db.transaction() as session:
        session.execute(text("DELETE FROM event WHERE type = 'iteration.started'"))
    assert told(db, live) == expected
    a_run(db, door, node, "later", None)
    build.give_places(db)
    assert told(db, live) == {**expected, ("tenure_slots_skipped_total", "overlap"): 2}


def test_a_long_backlog_is_folded_in_parts_that_sum_to_the_same(db, database_url):
    load(database_url, 300)
    with db.transaction() as session:
        before = tally.totals(session)
    left: list[int] = []
    while not left or left[-1] > 0:
        with db.transaction() as session:
            left.append(tally.fold(session, batch=250))
    assert left == [600, 350, 100, 0]
    with db.transaction() as session:
        after = tally.totals(session)
    assert [(one.kind, one.job, one.detail, one.n) for one in after] == [
        (one.kind, one.job, one.detail, one.n) for one in before
    ]
    assert sum(one.n for one in after if one.kind == "ended") == 300
    assert sum(one.seconds for one in after) == pytest.approx(300 * 0.04)


def test_no_metric_reads_the_whole_history_of_runs(db, database_url):
    load(database_url, 5_000)
    while True:
        with db.transaction() as session:
            if tally.fold(session) == 0:
                break
    statements = [query.sql for query in render._QUERIES] + [str(tally._TOTALS)]
    read = [scan for statement in statements for scan in whole_scans(db, statement)]
    assert read == []


def whole_scans(db: Database, statement: str) -> list[str]:
    """The tables of history that the plan reads from end to end."""
    with db.transaction() as session:
        plan = session.execute(text(f"EXPLAIN (FORMAT JSON) {statement}")).scalar_one()
    found, nodes = [], [(plan if isinstance(plan, list) else json.loads(plan))[0]["Plan"]]
    while nodes:
        step = nodes.pop()
        nodes += step.get("Plans", [])
        if step["Node Type"] == "Seq Scan" and step["Relation Name"] in HISTORY:
            found.append(f"{step['Relation Name']}: {statement}")
    return found
