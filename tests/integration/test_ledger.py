"""START, END and the reaper as statements: what they decide, and that they decide it once."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from sqlalchemy import text

from tenure.errors import IterationOver
from tenure.iterations import ledger, queries, slots
from tenure.iterations.catalog import Job
from tenure.iterations.ledger import Caller, EndedBy, Outcome
from tenure.iterations.node import Node
from tenure.iterations.run import Run
from tenure.kit.db import Database, StatementDoor

JOB = Job("sleep", "Sleep", None, 5, 10)


def patient_door(database_url: str) -> StatementDoor:
    """A door whose own time limits are no part of a test: another thread here may hold a lock for long."""
    return StatementDoor(database_url, application="tenure-test", statement_timeout_s=120, lock_timeout_s=120)


@pytest.fixture
def door(database_url: str) -> Iterator[StatementDoor]:
    door = patient_door(database_url)
    yield door
    door.close()


@pytest.fixture
def judge(database_url: str) -> Iterator[Node]:
    """Another node, which looks after what the first one leaves."""
    node = Node(role="beat", name="b", database_url=database_url, lease_s=60)
    node.register()
    yield node
    node.stop()


def a_slot(db: Database, scope: str = "") -> str:
    with db.transaction() as session:
        return slots.request_run(session, JOB, scope=scope).slot_id


def start(
    door: StatementDoor, node: Node, slot: str, owner: str, attempt: int = 1, *, attempts: int = 1
) -> ledger.Started | None:
    caller = Caller(owner=owner, node_id=node.id, worker="w", pid=1)
    return ledger.start(
        door, slot_id=slot, attempt=attempt, caller=caller, deadline_s=60, max_attempts=attempts
    )


def end(door: StatementDoor, owner: str, by: EndedBy = EndedBy.CHILD) -> ledger.Ended | None:
    return ledger.end(door, owner=owner, outcome=Outcome.OK, ended_by=by)


def test_a_redelivered_message_starts_nothing(db: Database, door: StatementDoor, node: Node) -> None:
    slot = a_slot(db)
    assert start(door, node, slot, "one") is not None
    assert start(door, node, slot, "two") is None


def test_a_duplicate_delivery_cannot_end_the_live_run(db: Database, door: StatementDoor, node: Node) -> None:
    start(door, node, a_slot(db), "one")
    assert end(door, "two") is None
    assert end(door, "one") is not None


def test_of_many_writers_of_end_exactly_one_wins(
    db: Database, database_url: str, door: StatementDoor, node: Node
) -> None:
    for _ in range(20):
        owner = f"owner-{_}"
        start(door, node, a_slot(db), owner)
        barrier = threading.Barrier(3)
        won: list[ledger.Ended | None] = []

        def write(
            by: EndedBy, barrier: threading.Barrier = barrier, owner: str = owner, won: list = won
        ) -> None:
            mine = patient_door(database_url)
            barrier.wait()
            won.append(end(mine, owner, by))
            mine.close()

        threads = [threading.Thread(target=write, args=(by,)) for by in EndedBy]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(result is not None for result in won) == 1


def test_of_many_starts_of_one_scope_exactly_one_runs_and_the_rest_are_overlaps(
    db: Database, database_url: str, node: Node
) -> None:
    waiting = [a_slot(db, "same") for _ in range(6)]
    barrier = threading.Barrier(len(waiting))
    results: list[ledger.Started | None] = []

    def go(slot: str) -> None:
        mine = patient_door(database_url)
        barrier.wait()
        results.append(start(mine, node, slot, slot))
        mine.close()

    threads = [threading.Thread(target=go, args=(slot,)) for slot in waiting]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    states = sorted((result.state, result.reason) for result in results if result)
    assert states == [("skipped", "overlap")] * 5 + [("started", None)]


def test_a_lost_start_answer_is_settled_so_that_a_late_start_matches_nothing(
    db: Database, door: StatementDoor, node: Node
) -> None:
    slot = a_slot(db)
    assert ledger.forsake(door, slot_id=slot, attempt=1, owner="one") is None
    assert start(door, node, slot, "one", attempt=1) is None
    assert start(door, node, slot, "two", attempt=2) is not None


def test_a_lost_start_answer_that_took_effect_ends_as_failed(
    db: Database, door: StatementDoor, node: Node
) -> None:
    slot = a_slot(db)
    start(door, node, slot, "one")
    settled = ledger.forsake(door, slot_id=slot, attempt=1, owner="one")
    assert settled is not None
    assert (settled.outcome, settled.error_type) == ("failed", "StartUnknown")


def test_after_its_end_an_iteration_writes_nothing(db: Database, door: StatementDoor, node: Node) -> None:
    started = start(door, node, a_slot(db), "one")
    assert started is not None
    run = Run(started.iteration_id, "sleep", "", db, soft_s=5, batch=10)
    with run.transaction() as session:
        session.execute(text("UPDATE domain_clock SET ahead = interval '1 hour'"))
    end(door, "one")
    for _ in range(50):
        with pytest.raises(IterationOver), run.transaction() as session:
            session.execute(text("UPDATE domain_clock SET ahead = interval '2 hours'"))
    with db.transaction() as session:
        assert session.execute(text("SELECT extract(hour FROM ahead) FROM domain_clock")).scalar_one() == 1


def test_end_waits_for_a_write_that_is_under_way(db: Database, door: StatementDoor, node: Node) -> None:
    started = start(door, node, a_slot(db), "one")
    assert started is not None
    run = Run(started.iteration_id, "sleep", "", db, soft_s=5, batch=10)
    ended = threading.Event()

    def finish() -> None:
        end(door, "one")
        ended.set()

    with run.transaction():
        thread = threading.Thread(target=finish)
        thread.start()
        assert not ended.wait(0.5)
    thread.join()
    assert ended.is_set()


def test_the_reaper_leaves_living_nodes_alone_and_ends_what_a_gone_node_had_open(
    db: Database, door: StatementDoor, node: Node, judge: Node
) -> None:
    start(door, node, a_slot(db), "one")
    assert ledger.reap(door, judge=judge.id, lease_s=0) == []
    node.stop()
    lost = ledger.reap(door, judge=judge.id, lease_s=0)
    assert [(end.outcome, end.ended_by, end.error_type) for end in lost] == [("lost", "reaper", "NodeLost")]
    assert ledger.reap(door, judge=judge.id, lease_s=0) == []


def test_the_reaper_judges_nobody_while_postgres_has_just_come_back(
    db: Database, door: StatementDoor, node: Node, judge: Node
) -> None:
    start(door, node, a_slot(db), "one")
    node.stop()
    assert ledger.reap(door, judge=judge.id, lease_s=100_000) == []


def test_a_judge_that_was_itself_without_postgres_finds_nobody_lost_for_a_whole_lease(
    db: Database, door: StatementDoor, node: Node, judge: Node
) -> None:
    def lapse() -> None:
        """As after an outage of PostgreSQL: nobody's lease was renewed."""
        door.run("UPDATE node SET lease_until = clock_timestamp() - interval '1 second'")

    start(door, node, a_slot(db), "one")
    lapse()
    assert ledger.reap(door, judge=judge.id, lease_s=0) == []  # it has not renewed its own lease yet
    judge._renew()
    assert ledger.reap(door, judge=judge.id, lease_s=30) == []  # it has, but the other may be about to
    node._renew()
    assert ledger.reap(door, judge=judge.id, lease_s=0) == []
    door.run("UPDATE node SET leased_since = leased_since - interval '31 seconds'")
    lapse()
    door.run("UPDATE node SET lease_until = clock_timestamp() + interval '9 s' WHERE id = %s", [judge.id])
    assert [end.error_type for end in ledger.reap(door, judge=judge.id, lease_s=2)] == ["NodeLost"]


def test_a_lease_that_is_renewed_in_time_goes_back_to_its_beginning(door: StatementDoor, node: Node) -> None:
    [before] = door.run("SELECT leased_since FROM node")
    node._renew()
    assert door.run("SELECT leased_since FROM node") == [before]


def test_a_run_past_its_deadline_is_lost_although_its_node_lives(
    db: Database, door: StatementDoor, node: Node, judge: Node
) -> None:
    slot = a_slot(db)
    caller = Caller(owner="one", node_id=node.id, worker="w", pid=1)
    ledger.start(door, slot_id=slot, attempt=1, caller=caller, deadline_s=-1)
    assert [end.error_type for end in ledger.reap(door, judge=judge.id, lease_s=0)] == ["DeadlinePassed"]


def test_a_retry_makes_the_slot_pending_with_the_next_attempt(
    db: Database, door: StatementDoor, node: Node
) -> None:
    slot = a_slot(db)
    start(door, node, slot, "one", attempts=2)
    ledger.end(door, owner="one", outcome=Outcome.FAILED, ended_by=EndedBy.CHILD)
    with db.transaction() as session:
        found = queries.slot(session, slot)
    assert (found["state"], found["attempt"]) == ("pending", 2)
    assert start(door, node, slot, "two", attempt=2, attempts=2) is not None
    ledger.end(door, owner="two", outcome=Outcome.FAILED, ended_by=EndedBy.CHILD)
    with db.transaction() as session:
        assert queries.slot(session, slot)["state"] == "started"


@pytest.mark.parametrize("ended_by", [EndedBy.PARENT, EndedBy.REAPER])
def test_a_lost_or_killed_attempt_is_followed_by_the_next_as_a_failed_one_is(
    db: Database, door: StatementDoor, node: Node, judge: Node, ended_by: EndedBy
) -> None:
    slot = a_slot(db)
    start(door, node, slot, "one", attempts=2)
    if ended_by is EndedBy.REAPER:
        node.stop()
        assert [end.outcome for end in ledger.reap(door, judge=judge.id, lease_s=0)] == ["lost"]
    else:
        ledger.end(door, owner="one", outcome=Outcome.KILLED, ended_by=ended_by)
    with db.transaction() as session:
        found = queries.slot(session, slot)
    assert (found["state"], found["attempt"]) == ("pending", 2)
