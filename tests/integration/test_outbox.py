"""The outbox: who may try a message, for how long, how often, and where it ends."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from datetime import datetime, timedelta

import pytest
from sqlalchemy import text

from tenure.errors import BrokenRule, Conflict
from tenure.kit.db import Database
from tenure.outbox.append import NewMessage, append
from tenure.outbox.claim import Claimed, claim, retire_lapsed
from tenure.outbox.replay import bury, discard, replay
from tenure.outbox.settle import Failed, acknowledge, fail, leave_unknown
from tenure.outbox.topics import WEBHOOK, Promise, Topic

AGAIN = Topic("again", Promise.AT_LEAST_ONCE, lease_s=600, pauses_s=(300, 3600))
ONCE = Topic("once", Promise.AT_MOST_ONCE, lease_s=600, pauses_s=(300,))


def put(db: Database, *keys: str, topic: Topic = AGAIN, to: str = "somebody") -> int:
    with db.transaction() as session:
        return append(session, topic, [NewMessage(key, to, {"about": key}) for key in keys])


def take(db: Database, topic: Topic = AGAIN, *, limit: int = 1, avoid: tuple[str, ...] = ()) -> list[Claimed]:
    with db.transaction() as session:
        return claim(session, topic, limit=limit, avoid=avoid)


def row(db: Database, key: str):
    with db.transaction() as session:
        found = session.execute(text("SELECT * FROM outbox WHERE dedupe_key = :key"), {"key": key})
        return found.one()


def clock_of(db: Database) -> datetime:
    with db.transaction() as session:
        found: datetime = session.execute(text("SELECT clock_timestamp()")).scalar_one()
        return found


def lapse(db: Database) -> None:
    """The claimer was away for longer than its lease."""
    with db.transaction() as session:
        session.execute(
            text("UPDATE outbox SET locked_until = clock_timestamp() WHERE locked_until IS NOT NULL")
        )


def make_due(db: Database) -> None:
    with db.transaction() as session:
        session.execute(text("UPDATE outbox SET available_at = clock_timestamp()"))


def test_a_message_stands_exactly_when_its_cause_stands_and_only_once(db):
    with contextlib.suppress(ZeroDivisionError), db.transaction() as session:
        append(session, AGAIN, [NewMessage("a", "somebody", {})])
        raise ZeroDivisionError
    assert take(db) == []
    assert put(db, "a", "b") == 2
    assert put(db, "b", "c") == 1
    assert Counter(one.dedupe_key for one in take(db, limit=10)) == {"a": 1, "b": 1, "c": 1}


def test_a_claimed_message_is_nobody_elses_until_it_is_settled(db):
    put(db, "a")
    (mine,) = take(db)
    assert (mine.attempt, mine.to, mine.payload["about"]) == (1, "somebody", "a")
    assert take(db) == []
    with db.transaction() as session:
        assert acknowledge(session, mine)
    assert (row(db, "a").state, row(db, "a").done_at is not None) == ("done", True)
    assert take(db) == []


def test_a_claim_that_was_rolled_back_never_was(db):
    put(db, "a")
    with contextlib.suppress(ZeroDivisionError), db.transaction() as session:
        assert claim(session, AGAIN)
        raise ZeroDivisionError
    assert take(db)[0].attempt == 1


def test_many_claimers_at_once_never_get_the_same_message(db):
    keys = [f"k{number}" for number in range(60)]
    put(db, *keys)
    got: list[str] = []
    start = threading.Barrier(4)

    def work() -> None:
        start.wait()
        while taken := take(db, limit=3):
            got.extend(one.dedupe_key for one in taken)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert Counter(got) == Counter(keys)


def test_after_the_lease_another_gets_it_and_the_late_one_changes_nothing(db):
    put(db, "a")
    (late,) = take(db)
    lapse(db)
    (next_one,) = take(db)
    assert next_one.attempt == 2
    with db.transaction() as session:
        assert not acknowledge(session, late)
        assert fail(session, late, error="late") is None
    assert (row(db, "a").state, row(db, "a").lock_token) == ("ready", next_one.lock_token)
    with db.transaction() as session:
        assert acknowledge(session, next_one)


def test_failures_wait_longer_each_time_and_then_it_is_a_dead_letter(db):
    put(db, "a")
    for pause in AGAIN.pauses_s:
        (mine,) = take(db)
        before = clock_of(db)
        with db.transaction() as session:
            failed = fail(session, mine, error="no\x00 answer")
        after = clock_of(db)
        assert failed is not None
        assert failed.next_at == row(db, "a").available_at
        assert before + timedelta(seconds=pause) <= failed.next_at <= after + timedelta(seconds=pause * 1.2)
        assert row(db, "a").last_error == "no answer"
        assert take(db) == []
        make_due(db)
    (last,) = take(db)
    with db.transaction() as session:
        assert fail(session, last, error="no") == Failed(None)
    assert row(db, "a").state == "dead"
    make_due(db)
    assert take(db) == []


def test_the_other_sides_wish_is_kept_and_a_final_failure_is_not_tried_again(db):
    put(db, "a", "b")
    first, second = sorted(take(db, limit=2), key=lambda one: one.dedupe_key)
    before = clock_of(db)
    with db.transaction() as session:
        fail(session, first, error="slow down", at_least_s=400)
        assert fail(session, second, error="gone", final=True) == Failed(None)
    assert row(db, "a").available_at >= before + timedelta(seconds=400)
    assert row(db, "b").state == "dead"


def test_a_message_that_kills_every_claimer_becomes_a_dead_letter(db):
    put(db, "poison")
    for attempt in range(1, AGAIN.attempts + 1):
        assert take(db)[0].attempt == attempt
        lapse(db)
    assert take(db) == []
    with db.transaction() as session:
        (lapsed,) = retire_lapsed(session, AGAIN)
    assert (lapsed.state, lapsed.payload["about"]) == ("dead", "poison")
    assert row(db, "poison").state == "dead"


def test_at_most_once_a_lost_claim_is_unknown_and_never_claimed_again(db):
    put(db, "a", topic=ONCE)
    assert take(db, ONCE)
    lapse(db)
    assert take(db, ONCE) == []
    with db.transaction() as session:
        assert [one.state for one in retire_lapsed(session, ONCE)] == ["unknown"]
    assert take(db, ONCE) == []


def test_at_most_once_what_was_certainly_not_taken_is_tried_again(db):
    put(db, "a", topic=ONCE)
    (mine,) = take(db, ONCE)
    with db.transaction() as session:
        fail(session, mine, error="refused")
    make_due(db)
    (again,) = take(db, ONCE)
    with db.transaction() as session:
        assert leave_unknown(session, again, error="cut")
    assert row(db, "a").state == "unknown"


def test_at_least_once_nothing_is_left_unknown(db):
    put(db, "a")
    (mine,) = take(db)
    with pytest.raises(BrokenRule), db.transaction() as session:
        leave_unknown(session, mine, error="cut")


def test_a_dead_letter_is_replayed_with_all_its_tries_before_it(db):
    put(db, "a")
    (mine,) = take(db)
    with db.transaction() as session:
        fail(session, mine, error="gone", final=True)
        replay(session, AGAIN, NewMessage("a", "somebody", {}))
    (again,) = take(db)
    assert again.attempt == 1
    with pytest.raises(Conflict) as refused, db.transaction() as session:
        replay(session, AGAIN, NewMessage("a", "somebody", {}))
    assert refused.value.instance_code == "in_progress"


def test_one_receiver_is_passed_over_buried_or_forgotten_without_touching_the_others(db):
    put(db, "slow", to="slow")
    put(db, "quick", to="quick")
    (quick,) = take(db, avoid=("slow",))
    assert (quick.dedupe_key, take(db, avoid=("slow",))) == ("quick", [])
    with db.transaction() as session:
        assert bury(session, AGAIN, to="quick", error="off") == []  # it is being tried
        assert [one["about"] for one in bury(session, AGAIN, to="slow", error="off")] == ["slow"]
    assert row(db, "slow").state == "dead"
    lapse(db)
    with db.transaction() as session:
        discard(session, AGAIN, to="quick")
    assert take(db) == []


def test_webhooks_keep_to_the_schedule_of_standard_webhooks():
    minutes = [round(pause / 60, 2) for pause in WEBHOOK.pauses_s]
    assert minutes == [0.08, 5, 30, 120, 300, 600, 840, 1200, 1440]
    assert (WEBHOOK.attempts, WEBHOOK.pause_s(10)) == (10, None)
    assert all(
        pause <= (WEBHOOK.pause_s(number) or 0) <= pause * 1.2
        for number, pause in enumerate(WEBHOOK.pauses_s, start=1)
    )
