"""The staging table of one import: rows come in by COPY, and are compared with what stands by SQL.

It is temporary: gone with the transaction, seen by nobody else.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, cast

import psycopg
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from tenure.errors import Conflict
from tenure.imports.rules import STATUSES, Checked, Problem
from tenure.model.plan import Plan
from tenure.plans.queries import snapshot

# One import at a time: two would compare with what the other is about to change.
_ALONE: Final = text("SELECT pg_try_advisory_xact_lock(hashtext('tenure.import'))")
_CREATE: Final = (
    text("""
    CREATE TEMPORARY TABLE import_row (
        line bigint PRIMARY KEY, external_id text NOT NULL, plan_code text NOT NULL, clean boolean NOT NULL,
        email text, telegram_chat_id text, status text, period_start timestamptz, period_end timestamptz,
        auto_renew boolean, customer_id text COLLATE "C", subscription_id text COLLATE "C", change text
    ) ON COMMIT DROP
    """),
    text("""
    CREATE TEMPORARY TABLE import_plan (
        code text PRIMARY KEY, snapshot jsonb NOT NULL, step interval NOT NULL, grace interval NOT NULL,
        grace_hours integer NOT NULL, auto_renew boolean NOT NULL
    ) ON COMMIT DROP
    """),
)
_PLANS: Final = text("""
    INSERT INTO import_plan
    SELECT p->>'code', p, ((p->'interval'->>'count') || ' ' || (p->'interval'->>'unit'))::interval,
           (p->>'grace_hours')::integer * interval '1 hour', (p->>'grace_hours')::integer,
           (p->>'auto_renew')::boolean
    FROM jsonb_array_elements(CAST(:plans AS jsonb)) AS p
""")
_COPY: Final = """
    COPY import_row (line, external_id, plan_code, clean, email, telegram_chat_id, status, period_start,
                     period_end, auto_renew) FROM STDIN
"""
_TWICE: Final = text("""
    SELECT line, first FROM (
        SELECT line, min(line) OVER (PARTITION BY external_id, plan_code) AS first FROM import_row) AS r
    WHERE line > first
""")
# Two rows of one customer that say different things about where to reach them: which one would hold?
_AT_ODDS: Final = text("""
    SELECT line, first, email_differs FROM (
        SELECT line, first_value(line) OVER of_customer AS first,
               email IS DISTINCT FROM first_value(email) OVER of_customer AS email_differs,
               telegram_chat_id IS DISTINCT FROM first_value(telegram_chat_id) OVER of_customer
                   AS chat_differs
        FROM import_row WHERE clean
        WINDOW of_customer AS (PARTITION BY external_id ORDER BY line)) AS r
    WHERE email_differs OR chat_differs
""")
_SPOIL: Final = text("UPDATE import_row SET clean = false WHERE line = ANY(:lines)")

# Of several subscriptions of one customer to one plan the newest is meant that a file can speak of.
SPEAKABLE: Final = f"""
    (s.status IN ({", ".join(f"'{status}'" for status in STATUSES)}) AND s.period_end > s.period_start)
"""
_MATCH: Final = text(f"""
    WITH matched AS (
        SELECT DISTINCT ON (r.line) r.line, c.id AS customer_id, s.id AS subscription_id
        FROM import_row r JOIN customer c ON c.external_id = r.external_id
        LEFT JOIN subscription s ON s.customer_id = c.id AND s.plan_code = r.plan_code
        WHERE r.clean
        ORDER BY r.line, {SPEAKABLE} DESC NULLS LAST, s.id DESC
    )
    UPDATE import_row r SET customer_id = m.customer_id, subscription_id = m.subscription_id
    FROM matched m WHERE m.line = r.line
""")
# What is compared below stands until the commit. All subscriptions of a customer, because a changed address
# is told to the provisioner for each.
_LOCKS: Final = (
    text("""
    SELECT count(*) FROM (
        SELECT s.id FROM subscription s
        WHERE s.customer_id IN (SELECT r.customer_id FROM import_row r WHERE r.customer_id IS NOT NULL)
        ORDER BY s.id FOR NO KEY UPDATE) AS locked
    """),
    text("""
    SELECT count(*) FROM (
        SELECT c.id FROM customer c
        WHERE c.id IN (SELECT r.customer_id FROM import_row r WHERE r.customer_id IS NOT NULL)
        ORDER BY c.id FOR NO KEY UPDATE) AS locked
    """),
)
_COMPARE: Final = text("""
    UPDATE import_row r SET change = CASE
        WHEN r.subscription_id IS NULL THEN 'created'
        WHEN EXISTS (
            SELECT 1 FROM subscription s JOIN customer c ON c.id = s.customer_id
            WHERE s.id = r.subscription_id
              AND (c.email, c.telegram_chat_id, s.status, s.period_start, s.period_end, s.auto_renew)
                  IS NOT DISTINCT FROM (r.email, r.telegram_chat_id, r.status, r.period_start, r.period_end,
                                        coalesce(r.auto_renew, s.auto_renew)))
        THEN 'unchanged' ELSE 'updated' END
    WHERE r.clean
""")
_ANALYZE: Final = text("ANALYZE import_row")
_COUNTS: Final = text("SELECT change, count(*) AS n FROM import_row WHERE clean GROUP BY change")


def begin(session: Session) -> frozenset[str]:
    """Make the empty staging table; the codes of the plans there are. Raises Conflict."""
    if not session.execute(_ALONE).scalar_one():
        raise Conflict("another import is running", code="import_running")
    for statement in _CREATE:
        session.execute(statement)
    plans = [snapshot(plan) for plan in session.scalars(select(Plan))]
    session.execute(_PLANS, {"plans": json.dumps(plans)})
    return frozenset(plan["code"] for plan in plans)


def stage(session: Session, rows: Iterable[Checked]) -> None:
    """Add rows; of one that is not valid only its key."""
    connection = cast("psycopg.Connection[Any]", session.connection().connection.driver_connection)
    with connection.cursor() as cursor, cursor.copy(_COPY) as copy:
        for one in rows:
            if one.key is not None:
                copy.write_row([one.line, *one.key, one.row is not None, *_values(one)])


def _values(one: Checked) -> Sequence[Any]:
    row = one.row
    if row is None:
        return [None] * 6
    return [row.email, row.telegram_chat_id, row.status, row.period_start, row.period_end, row.auto_renew]


def cross_check(session: Session) -> Iterator[Problem]:
    """What is wrong between rows; such rows are not clean afterwards."""
    session.execute(_ANALYZE)
    twice = session.execute(_TWICE).all()
    for row in twice:
        message = f"the same external_id and plan_code as in line {row.first}"
        yield Problem(row.line, "external_id", "duplicate", message)
    session.execute(_SPOIL, {"lines": [row.line for row in twice]})
    at_odds = session.execute(_AT_ODDS).all()
    for row in at_odds:
        column = "email" if row.email_differs else "telegram_chat_id"
        message = f"line {row.first} has another {column} of the same customer"
        yield Problem(row.line, column, "customer_mismatch", message)
    session.execute(_SPOIL, {"lines": [row.line for row in at_odds]})


def compare(session: Session, *, lock: bool) -> dict[str, int]:
    """Decide for each clean row whether it is `created`, `updated` or `unchanged`; the number of each.

    With `lock` the decision stands until the commit.
    """
    session.execute(_MATCH)
    if lock:
        for statement in _LOCKS:
            session.execute(statement)
    session.execute(_COMPARE)
    session.execute(_ANALYZE)
    return {row.change: row.n for row in session.execute(_COUNTS)}
