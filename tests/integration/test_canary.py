"""The canary as a sign of life: in vain only while it is sent and nobody anywhere starts it."""

from __future__ import annotations

import psycopg
import pytest

from tenure.iterations.canary import waits_in_vain

WITHIN_S = 90.0
_SLOT = """
    INSERT INTO slot (id, job, scope, due_at, origin, count, expires_at, published_at, state, reason,
                      decided_at)
    VALUES (%(id)s, 'canary', '', clock_timestamp() - make_interval(secs => %(age)s), 'schedule', 1,
            clock_timestamp(), CASE WHEN %(sent)s THEN clock_timestamp() END, %(state)s, %(reason)s,
            CASE WHEN %(state)s <> 'pending' THEN clock_timestamp() END)
"""
_START = """
    INSERT INTO iteration (id, slot_id, job, scope, due_at, attempt, owner, node_id, worker, pid, deadline_at,
                           started_at)
    SELECT 'itr_1', id, job, scope, due_at, 1, 'owner', 'nod_1', 'w', 1, clock_timestamp(),
           clock_timestamp() - make_interval(secs => %(age)s) FROM slot LIMIT 1
"""


def slot(connection: psycopg.Connection, *, age: int, state: str = "pending", sent: bool = True) -> None:
    reason = "expired" if state == "skipped" else None
    connection.execute(
        _SLOT, {"id": f"slt_{age}", "age": age, "state": state, "reason": reason, "sent": sent}
    )


@pytest.mark.parametrize(
    ("slots", "started_s_ago", "in_vain"),
    [
        ([], None, False),  # no beat, or the canary is paused: nothing to run
        ([{"age": 30}], None, True),
        ([{"age": 60, "state": "skipped"}], None, True),
        ([{"age": 1}], None, False),  # sent a moment ago
        ([{"age": 30, "sent": False}], None, False),  # the broker never had it
        ([{"age": 30}], 5, False),  # somebody, somewhere
        ([{"age": 30}], 80, True),  # but not for a while
        ([{"age": 3000, "state": "skipped"}], None, False),
    ],
)
def test_silence_is_held_against_a_worker_only_while_canaries_wait(
    database_url: str, slots: list[dict], started_s_ago: int | None, in_vain: bool
) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        for one in slots:
            slot(connection, **one)
        if started_s_ago is not None:
            connection.execute(_START, {"age": started_s_ago})
    assert waits_in_vain(database_url, within_s=WITHIN_S) is in_vain


def test_without_an_answer_nothing_is_held_against_anybody() -> None:
    assert waits_in_vain("postgresql://x:y@127.0.0.1:1/z", within_s=WITHIN_S) is False
