"""Migrations: up, down and up again on data, and models that say the same as the schema."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tenure.kit.db import Database
from tenure.subscriptions import expire_due
from tests.support import builders as build
from tests.support.services import ROOT, environment, migrate


def test_the_schema_goes_down_and_up_again_under_data(database_url):
    db = Database(database_url, pool_size=2, application="tenure-test")
    try:
        build.plan(db, reminders=build.STAGES)
        for status in ("trialing", "active", "past_due", "paused", "canceled", "expired"):
            build.subscription(db, status=status)
        migrate(database_url, "0001", direction="downgrade")
        migrate(database_url)
        assert build.rows(db, "SELECT 1 FROM subscription") == []
        build.plan(db)
        id_ = build.subscription(db, status="past_due")
        expire_due.run(build.run(db, "expiry"))
        assert build.shown(db, id_)["status"] == "past_due"
        migrate(database_url, "base", direction="downgrade")
        migrate(database_url)
    finally:
        db.close()


def test_the_models_and_the_schema_say_the_same(database_url):
    done = subprocess.run(
        [sys.executable, "-m", "alembic", "check"],
        cwd=ROOT,
        env=environment(TENURE_DATABASE_URL=database_url, TENURE_ENV="development"),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("what", "sql"),
    [
        ("an unknown status", "UPDATE subscription SET status = 'frozen'"),
        ("a running one without a period", "UPDATE subscription SET period_end = NULL"),
        ("an end before the start", "UPDATE subscription SET period_end = period_start - interval '1 s'"),
        ("negative holds", "UPDATE subscription SET holds = -1"),
        ("a pause without its moment", "UPDATE subscription SET status = 'paused'"),
        ("applied beyond desired", "UPDATE provisioning SET applied_generation = 99"),
        ("in sync without being applied", "UPDATE provisioning SET state = 'in_sync'"),
        ("a plan for nothing", "UPDATE plan SET price_minor = 0"),
    ],
)
def test_the_database_itself_refuses(db, what, sql):
    from sqlalchemy import text
    from sqlalchemy.exc import IntegrityError

    build.subscription(db)
    with pytest.raises(IntegrityError), db.transaction() as session:
        session.execute(text(sql))
