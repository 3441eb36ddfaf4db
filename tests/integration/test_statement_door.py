"""The door of single statements: what it gives back, and what is left when a statement or a server fails."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tenure.errors import Unavailable
from tenure.kit.db import Database, StatementDoor
from tests.support import builders as build

Run = Callable[[str, Mapping[str, Any]], list[dict[str, Any]]]

TYPES = """
    SELECT %(word)s::text AS word, %(none)s::text AS none, %(number)s::int AS number,
           %(seconds)s::float8 AS seconds, %(yes)s::bool AS yes, %(words)s::text[] AS words,
           %(json)s::jsonb AS json, %(word)s || '!' AS louder
"""
VALUES = {
    "word": "ö%s$1'", "none": None, "number": 70_000, "seconds": 0.5, "yes": True, "words": ["a", "b,c"],
    "json": Jsonb({"deep": [1]}),
}  # fmt: skip


@pytest.fixture(params=["run", "run_prepared"])
def run(request: pytest.FixtureRequest, door: StatementDoor) -> Run:
    way: Run = getattr(door, request.param)
    return way


def test_values_come_back_as_they_went(run: Run) -> None:
    for _ in range(2):  # the second time it is prepared
        assert run(TYPES, VALUES) == [{**VALUES, "json": {"deep": [1]}, "louder": "ö%s$1'!"}]


def test_a_statement_that_finds_nothing_returns_no_rows(run: Run) -> None:
    assert run("SELECT %(n)s::int AS n WHERE false", {"n": 1}) == []
    assert run("UPDATE slot SET count = 2 WHERE id = %(id)s", {"id": "slt_of_nobody"}) == []


def test_values_of_other_types_than_the_first_time_are_taken(run: Run) -> None:
    found = [run("SELECT %(n)s::int AS n", {"n": n}) for n in (None, 1, 2**30, "7")]
    assert found == [[{"n": None}], [{"n": 1}], [{"n": 2**30}], [{"n": 7}]]


def test_a_statement_that_fails_says_why_and_the_next_one_runs(run: Run) -> None:
    with pytest.raises(psycopg.errors.DivisionByZero):
        run("SELECT 1 / %(n)s::int AS n", {"n": 0})
    with pytest.raises(psycopg.errors.UndefinedTable):
        run("SELECT %(n)s::int AS n FROM nowhere", {"n": 0})
    assert run("SELECT 1 / %(n)s::int AS n", {"n": 1}) == [{"n": 1}]


def test_a_connection_that_the_server_ended_is_replaced_at_the_next_statement(run: Run, db: Database) -> None:
    (first,) = run("SELECT pg_backend_pid() AS pid WHERE %(yes)s::bool", {"yes": True})
    build.rows(db, "SELECT pg_terminate_backend(:pid, 5000)", pid=first["pid"])
    with pytest.raises(Unavailable):
        run("SELECT pg_backend_pid() AS pid WHERE %(yes)s::bool", {"yes": True})
    (second,) = run("SELECT pg_backend_pid() AS pid WHERE %(yes)s::bool", {"yes": True})
    assert second["pid"] != first["pid"]


def test_a_statement_that_takes_too_long_is_ended_by_the_server(database_url: str) -> None:
    # Enough for the statement between: a new connection's first one is slow on a busy machine.
    door = StatementDoor(database_url, application="tenure-test", statement_timeout_s=3)
    for way in (door.run, door.run_prepared):
        with pytest.raises(Unavailable) as told:
            way("SELECT pg_sleep(%(s)s::float8)", {"s": 60})
        assert told.value.extra["reason"] == "QueryCanceled"
        assert way("SELECT %(n)s::int AS n", {"n": 1}) == [{"n": 1}]
    door.close()
