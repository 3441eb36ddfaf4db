"""Slots and schedules: each due time once, every skip with its reason, runs on request idempotent."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tenure.errors import Conflict, Invalid
from tenure.iterations import queries, schedules, slots
from tenure.iterations.catalog import Job
from tenure.iterations.rhythm import MOST_MISSED, Rhythm
from tenure.kit.db import Database, StatementDoor

TICK = Job("tick", "Tick", 10, 5, 10)
JOBS = {"tick": TICK}


@pytest.fixture
def door(database_url: str) -> Iterator[StatementDoor]:
    door = StatementDoor(database_url, application="tenure-test")
    schedules.seed(door, JOBS.values())
    yield door
    door.close()


def claim(db: Database) -> int:
    with db.transaction() as session:
        return schedules.claim_due(session, JOBS)


def made(db: Database) -> list[dict]:
    with db.transaction() as session:
        return queries.slots(session, job="tick").items


def set_schedule(door: StatementDoor, sql: str) -> None:
    door.run(f"UPDATE schedule SET {sql} WHERE job = 'tick'")


def test_beats_that_tick_together_make_one_slot(db: Database, door: StatementDoor) -> None:
    barrier = threading.Barrier(3)

    def tick() -> None:
        barrier.wait()
        claim(db)

    threads = [threading.Thread(target=tick) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [slot["count"] for slot in made(db)] == [1]


def test_missed_due_times_become_one_slot_with_a_count(db: Database, door: StatementDoor) -> None:
    # The first of ten due times was 91 s ago, the last a second ago.
    set_schedule(door, "next_due_at = clock_timestamp() - interval '91 seconds'")
    claim(db)
    (slot,) = made(db)
    assert slot["count"] == 10
    assert claim(db) == 0


def test_a_slot_that_waits_takes_later_due_times_in(db: Database, door: StatementDoor) -> None:
    claim(db)
    set_schedule(door, "next_due_at = clock_timestamp()")
    claim(db)
    assert [slot["count"] for slot in made(db)] == [2]


def test_a_pause_skips_with_its_reason_and_the_next_due_time_is_normal(
    db: Database, door: StatementDoor
) -> None:
    with db.transaction() as session:
        schedules.pause(session, TICK, until=None, reason="maintenance", by="test")
    set_schedule(door, "next_due_at = clock_timestamp() - interval '21 seconds'")
    assert claim(db) == 0
    assert made(db) == []
    with db.transaction() as session:
        schedules.resume(session, TICK)
    claim(db)
    (skipped,) = made(db)
    assert (skipped["state"], skipped["reason"], skipped["count"]) == ("skipped", "paused", 3)
    set_schedule(door, "next_due_at = clock_timestamp()")
    claim(db)
    assert made(db)[0]["state"] == "pending"


def test_a_pause_during_which_nothing_was_due_skips_nothing(db: Database, door: StatementDoor) -> None:
    set_schedule(door, "next_due_at = clock_timestamp() + interval '1 second'")
    with db.transaction() as session:
        schedules.pause(session, TICK, until=None, reason="short", by="test")
        schedules.resume(session, TICK)
    set_schedule(door, "next_due_at = clock_timestamp(), paused_until = clock_timestamp() - interval '1 s'")
    claim(db)
    assert [slot["state"] for slot in made(db)] == ["pending"]


def test_a_pause_too_long_to_be_counted_at_once_stands_until_all_of_it_is(
    db: Database, door: StatementDoor
) -> None:
    set_schedule(
        door,
        "cron = '* * * * * *', paused = true, next_due_at = date_trunc('second', now()) "
        "- interval '8 h', paused_until = date_trunc('second', now()) - interval '1 h'",
    )
    ticks = 0
    while not any(slot["state"] == "pending" for slot in made(db)):
        claim(db)
        ticks += 1
        assert ticks <= 3
    skipped = [slot for slot in made(db) if slot["state"] == "skipped"]
    assert {slot["reason"] for slot in skipped} == {"paused"}
    assert sum(slot["count"] for slot in skipped) == 7 * 3600 + 1
    (late,) = [slot for slot in made(db) if slot["state"] == "pending"]
    assert late["count"] >= 3600 - 1


def test_pausing_a_schedule_does_not_stop_a_run_on_request(db: Database, door: StatementDoor) -> None:
    with db.transaction() as session:
        schedules.pause(session, TICK, until=None, reason="maintenance", by="test")
        slots.request_run(session, TICK)
    assert [slot["origin"] for slot in made(db)] == ["run"]


def test_the_same_key_is_the_same_run(db: Database, door: StatementDoor) -> None:
    with db.transaction() as session:
        first = slots.request_run(session, TICK, user_id="usr_1", run_key="k")
    with db.transaction() as session:
        again = slots.request_run(session, TICK, user_id="usr_1", run_key="k")
        other = slots.request_run(session, TICK, user_id="usr_2", run_key="k")
    assert (again.slot_id, again.duplicate) == (first.slot_id, True)
    assert other.slot_id != first.slot_id


def test_the_same_key_for_another_scope_is_a_conflict(db: Database, door: StatementDoor) -> None:
    with db.transaction() as session:
        slots.request_run(session, TICK, scope="a", user_id="usr_1", run_key="k")
    with pytest.raises(Conflict) as refused, db.transaction() as session:
        slots.request_run(session, TICK, scope="b", user_id="usr_1", run_key="k")
    assert refused.value.instance_code == "idempotency_mismatch"
    assert len(made(db)) == 1


def test_runs_asked_for_at_the_same_moment_are_all_made(db: Database, door: StatementDoor) -> None:
    with db.transaction() as session:
        for _ in range(50):
            slots.request_run(session, TICK)
    assert len({slot["due_at"] for slot in made(db)}) == 50


def test_a_slot_nobody_could_publish_is_undelivered_and_one_that_waited_too_long_expired(
    db: Database, door: StatementDoor
) -> None:
    with db.transaction() as session:
        never = slots.request_run(session, TICK).slot_id
        waited = slots.request_run(session, TICK).slot_id
    slots.published(door, waited)
    door.run("UPDATE slot SET expires_at = clock_timestamp() - interval '1 s'")
    assert {row["id"]: row["reason"] for row in slots.skip_stale(door)} == {
        never: "undelivered",
        waited: "expired",
    }
    assert slots.skip_stale(door) == []


def test_a_published_slot_is_published_again_only_after_its_back_off(
    db: Database, door: StatementDoor
) -> None:
    with db.transaction() as session:
        slot = slots.request_run(session, TICK).slot_id
    assert [found.id for found in slots.claim_to_publish(door)] == [slot]
    assert slots.claim_to_publish(door) == []
    door.run("UPDATE slot SET publish_after = clock_timestamp()")
    assert [found.attempt for found in slots.claim_to_publish(door)] == [1]


def test_an_interval_keeps_its_grid_whatever_the_lateness() -> None:
    base = datetime(2026, 1, 1, tzinfo=UTC)
    latest, count, following = Rhythm(10, None, "UTC").missed(base, base + timedelta(seconds=34))
    assert (latest, count, following) == (
        base + timedelta(seconds=30),
        4,
        base + timedelta(seconds=40),
    )


@pytest.mark.parametrize(
    ("before", "due"),
    [
        # 02:30 does not exist on 29 March 2026 in Berlin: it runs once that night, after the gap.
        ("2026-03-28T12:00:00+00:00", "2026-03-29T01:00:00+00:00"),
        # 02:30 comes twice on 25 October 2026: it runs at the first one only.
        ("2026-10-24T12:00:00+00:00", "2026-10-25T00:30:00+00:00"),
    ],
)
def test_cron_follows_the_zone_over_daylight_saving(before: str, due: str) -> None:
    rhythm = Rhythm(None, "30 2 * * *", "Europe/Berlin")
    assert rhythm.after(datetime.fromisoformat(before)) == datetime.fromisoformat(due)
    next_day = rhythm.after(datetime.fromisoformat(due))
    assert next_day - datetime.fromisoformat(due) > timedelta(hours=22)


def test_a_long_absence_is_counted_in_parts_and_no_due_time_twice() -> None:
    each_second = Rhythm(None, "* * * * * *", "Europe/Berlin")
    first = datetime(2026, 3, 28, 12, tzinfo=UTC)
    now = first + timedelta(days=2)  # over the change to summer time
    counts, due = [], first
    while due <= now:
        latest, count, following = each_second.missed(due, now)
        assert latest - due == timedelta(seconds=count - 1)
        assert following - latest == timedelta(seconds=1)
        counts.append(count)
        due = following
    assert sum(counts) == 2 * 86_400 + 1
    assert len(counts) == math.ceil(sum(counts) / MOST_MISSED)
    assert max(counts) == MOST_MISSED <= 20_000


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"cron": "1--100000000 * * * *"}, "cron"),
        ({"cron": "* " * 80}, "cron"),
        ({"cron": "0 0 31 2 *"}, "cron"),
        ({"timezone": "Mars/Olympus"}, "timezone"),
        ({"cron": "* * * * *", "every_s": 5}, "cron"),
    ],
)
def test_an_impossible_schedule_is_refused_and_changes_nothing(
    db: Database, door: StatementDoor, changes: dict, field: str
) -> None:
    before = door.run("SELECT * FROM schedule")
    with pytest.raises(Invalid) as refused, db.transaction() as session:
        schedules.change(session, TICK, changes)
    assert [error.field for error in refused.value.errors] == [field]
    assert door.run("SELECT * FROM schedule") == before


def test_a_changed_rhythm_is_due_from_now(db: Database, door: StatementDoor) -> None:
    with db.transaction() as session:
        schedules.change(session, replace(TICK), {"every_s": 3600})
    with db.transaction() as session:
        (schedule,) = queries.schedules(session, JOBS)
    assert schedule["every_s"] == 3600
    assert schedules.seconds_to_next(door, JOBS) == 60
