"""Subscriptions in and out as CSV: all or nothing, and a round trip changes nothing."""

from __future__ import annotations

import contextvars
import io
import json
import threading
import time
import tracemalloc
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from tenure.audit.record import CLI
from tenure.cli.transfer import export, import_
from tenure.errors import Conflict
from tenure.imports.export_file import export_file
from tenure.imports.import_file import ImportOptions, Report, import_file
from tenure.imports.rules import COLUMNS, guarded, unguarded
from tenure.kit.db import Database
from tenure.kit.http import HttpDoor
from tenure.providers.provisioner import HttpProvisioner
from tenure.provisioning.reconcile import run as reconcile
from tenure.standins.provisioner import ProvisionerStandIn
from tenure.subscriptions import expire_due
from tests.support import builders as build

HEADER = ",".join(COLUMNS)
SECRET = "secret-of-the-provisioner"
START = "2026-01-31T12:00:00Z"
END = "2027-02-28T12:00:00Z"


def line(external_id: str = "a", **other: str) -> str:
    cells = {
        "external_id": external_id,
        "email": f"{external_id}@example.test",
        "telegram_chat_id": "",
        "plan_code": "basic",
        "status": "active",
        "period_start": START,
        "period_end": END,
        "auto_renew": "true",
        **other,
    }
    return ",".join(cells[name] for name in COLUMNS)


def take(db: Database, content: str | bytes | Sequence[str], **options: bool) -> Report:
    if not isinstance(content, (str, bytes)):
        content = "\n".join([HEADER, *content]) + "\n"
    raw = content.encode() if isinstance(content, str) else content
    return import_file(db, io.BytesIO(raw), name="some.csv", options=ImportOptions(**options), actor=CLI)


def numbers(report: Report) -> tuple[int, int, int, int, int]:
    return report.rows, report.created, report.updated, report.unchanged, len(report.errors)


def found(report: Report) -> list[tuple[int, str | None, str]]:
    return [(error.line, error.column, error.code) for error in report.errors]


def stands(db: Database) -> dict[str, list[Any]]:
    """Everything that an import could write."""
    tables = ("customer", "subscription", "provisioning", "event", "audit", "notice", "hold")
    return {table: build.rows(db, f"SELECT * FROM {table} ORDER BY 1") for table in tables}


def shown(db: Database, external_id: str) -> dict[str, Any]:
    ids = build.rows(
        db,
        "SELECT s.id FROM subscription s JOIN customer c ON c.id = s.customer_id WHERE external_id = :id",
        id=external_id,
    )
    assert len(ids) == 1
    return build.shown(db, ids[0].id)


@pytest.fixture
def plan(db: Database) -> str:
    return build.plan(db)


def test_a_row_becomes_a_customer_and_a_subscription_whose_account_will_be_told(db, plan):
    report = take(db, [line(telegram_chat_id="'-1001")])
    assert numbers(report) == (1, 1, 0, 0, 0)
    row = shown(db, "a")
    wanted = {
        "status": "active",
        "period_start": START,
        "period_end": END,
        "grace_until": "2027-03-02T12:00:00Z",
        "access_until": "2027-03-02T12:00:00Z",
        "auto_renew": True,
        "entitled": True,
        "period_no": 1,
        "is_trial": False,
    }
    assert row | wanted == row
    assert row["plan"]["code"] == "basic"
    assert row["provisioning"]["desired"] == "on"
    assert row["provisioning"]["state"] == "pending"
    assert (row["provisioning"]["desired_generation"], row["provisioning"]["applied_generation"]) == (1, 0)
    assert build.rows(db, "SELECT priority FROM provisioning") == [(2,)]
    customer = build.rows(db, "SELECT external_id, email, telegram_chat_id, timezone, locale FROM customer")
    assert customer == [("a", "a@example.test", "-1001", "UTC", "en")]
    events = build.rows(db, "SELECT type, channels FROM event ORDER BY n")
    channels = ["subscriptions", f"subscription:{row['id']}"]
    assert events == [("subscription.imported", channels), ("entitlement.changed", channels)]
    audit = build.rows(db, "SELECT actor, object, after FROM audit WHERE action = 'import'")
    assert [(one.actor, one.object, one.after["created"]) for one in audit] == [("cli", "file:some.csv", 1)]


def test_each_status_has_its_access_and_every_account_is_told(db, plan):
    statuses = ["trialing", "active", "past_due", "canceled", "expired"]
    assert numbers(take(db, [line(status, status=status) for status in statuses])) == (5, 5, 0, 0, 0)
    on = {status: shown(db, status)["provisioning"]["desired"] for status in statuses}
    assert on == {
        "trialing": "on",
        "active": "on",
        "past_due": "on",
        "canceled": "off",
        "expired": "off",
    }
    assert build.rows(db, "SELECT DISTINCT desired_generation, state FROM provisioning") == [(1, "pending")]
    assert shown(db, "trialing")["is_trial"]
    assert shown(db, "expired")["ended_at"] is not None
    told = build.rows(db, "SELECT count(*) FROM event WHERE type = 'entitlement.changed'")
    assert told == [(3,)]


def test_the_reconciler_tells_the_provisioner_of_imported_accounts(db, plan):
    take(db, [line("a"), line("b", status="expired")])
    with ProvisionerStandIn(secrets=[SECRET]) as standin, closing(HttpDoor(allow_private=True)) as door:
        provisioner = HttpProvisioner(door, url=standin.url, secrets=[SECRET])
        reconcile(build.run(db, "activation"), provisioner)
        told = [
            (one["customer"]["external_id"], one["enabled"], one["generation"]) for one in standin.journal
        ]
    assert sorted(told) == [("a", True, 1), ("b", False, 1)]
    assert build.rows(db, "SELECT DISTINCT state FROM provisioning") == [("in_sync",)]


def test_accounts_that_are_assumed_to_be_provisioned_are_not_told(db, plan):
    take(db, [line("a"), line("b", status="expired")], assume_provisioned=True)
    assert build.rows(
        db, "SELECT DISTINCT desired_generation, applied_generation, state FROM provisioning"
    ) == [(1, 1, "in_sync")]
    take(db, [line("a", period_end="2027-03-31T12:00:00Z")], assume_provisioned=True)
    provisioning = shown(db, "a")["provisioning"]
    assert (provisioning["desired_generation"], provisioning["applied_generation"]) == (2, 2)


def test_a_period_of_one_interval_keeps_its_day_of_the_month(db, plan):
    take(
        db,
        [
            line("whole", period_end="2026-02-28T12:00:00Z", period_start=START),
            line("odd", period_start="2026-02-10T00:00:00Z", period_end="2026-02-28T12:00:00Z"),
        ],
    )
    whole, odd = shown(db, "whole"), shown(db, "odd")
    assert whole["anchor_at"] == START
    assert odd["anchor_at"] == "2026-02-28T12:00:00Z"
    assert build.pay(db, whole["id"]).period_end == datetime(2026, 3, 31, 12, tzinfo=UTC)
    assert build.pay(db, odd["id"]).period_end == datetime(2026, 3, 28, 12, tzinfo=UTC)


def test_an_imported_period_that_is_over_is_carried_on_by_the_expiry(db, plan):
    take(db, [line(period_start="2025-01-01T00:00:00Z", period_end="2025-02-01T00:00:00Z")])
    expire_due.run(build.run(db, "expiry"))
    assert shown(db, "a")["status"] == "expired"
    assert shown(db, "a")["provisioning"]["desired_generation"] == 2


def test_the_same_file_again_changes_nothing(db, plan):
    content = [line("a"), line("b", status="trialing"), line("c", email="", auto_renew="")]
    take(db, content)
    before = stands(db)
    report = take(db, content)
    assert numbers(report) == (3, 0, 0, 3, 0)
    after = stands(db)
    assert len(after.pop("audit")) == len(before.pop("audit")) + 1
    assert after == before


def test_changed_rows_are_updated_and_their_accounts_told_of_what_changed(db, plan):
    build.plan(db, "other")
    take(db, [line("a"), line("b"), line("c"), line("d"), line("e"), line("e", plan_code="other")])
    report = take(
        db,
        [
            line("a", period_end="2027-03-31T12:00:00Z"),
            line("b", status="canceled"),
            line("c", auto_renew="false"),
            line("d"),
            line("e", email="new@example.test"),
        ],
    )
    assert numbers(report) == (5, 0, 4, 1, 0)
    generations = {
        (row.external_id, row.plan_code): (row.desired_generation, row.enabled)
        for row in build.rows(db, "SELECT * FROM provisioning")
    }
    assert generations == {
        ("a", "basic"): (2, True),
        ("b", "basic"): (2, False),
        ("c", "basic"): (1, True),
        ("d", "basic"): (1, True),
        ("e", "basic"): (2, True),
        ("e", "other"): (2, True),
    }
    assert not shown(db, "c")["auto_renew"]
    assert shown(db, "b")["ended_at"] is not None
    changes = build.rows(
        db,
        """SELECT count(*) FROM event
           WHERE type = 'subscription.imported' AND data->>'change' = 'updated'""",
    )
    assert changes == [(4,)]
    off = build.rows(db, "SELECT data FROM event WHERE type = 'entitlement.changed' ORDER BY n DESC LIMIT 1")
    assert off[0].data["entitled"] is False


def test_a_subscription_that_the_api_made_is_updated_by_its_customer_and_plan(db, plan):
    id_ = build.subscription(db, customer_id=build.customer(db, external_id="a"), status="trialing")
    assert numbers(take(db, [line("a")])) == (1, 0, 1, 0, 0)
    row = shown(db, "a")
    assert (row["id"], row["status"], row["period_no"], row["period_end"]) == (id_, "active", 1, END)
    paused = build.subscription(db, customer_id=build.customer(db, external_id="p"), status="paused")
    take(db, [line("p")])
    assert (shown(db, "p")["id"], shown(db, "p")["status"]) == (paused, "active")


BAD = {
    "a wrong number of columns": (line() + ",more", None, "wrong_column_count"),
    "no external id": (line(external_id="", email=""), "external_id", "bad_external_id"),
    "an address that is none": (line(email="nobody"), "email", "bad_email"),
    "a chat that is none": (line(telegram_chat_id="some words"), "telegram_chat_id", "bad_telegram_chat_id"),
    "an unknown plan": (line(plan_code="gold"), "plan_code", "unknown_plan"),
    "a status of elsewhere": (line(status="paused"), "status", "bad_status"),
    "a start that is no time": (line(period_start="yesterday"), "period_start", "bad_time"),
    "a time without offset": (line(period_end="2027-01-01T00:00:00"), "period_end", "bad_time"),
    "a day that does not exist": (line(period_end="2027-02-30T00:00:00Z"), "period_end", "bad_time"),
    "a year that cannot be counted on from": (
        line(period_start="0001-01-01T00:00:00+14:00"),
        "period_start",
        "bad_time",
    ),
    "an empty period": (line(period_end=START), "period_end", "period_order"),
    "neither true nor false": (line(auto_renew="maybe"), "auto_renew", "bad_boolean"),
    "a quote in the wrong place": ('"a"b' + line()[1:], None, "bad_csv"),
    "a zero byte": (line(external_id="a\0b", email=""), "external_id", "bad_external_id"),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_a_bad_row_is_named_by_line_and_column_and_nothing_is_written(db, plan, bad):
    text, column, code = bad
    before = stands(db)
    report = take(db, [line("fine"), text])
    assert found(report) == [(3, column, code)]
    assert (report.rows, report.created) == (2, 0)
    assert stands(db) == before


WHOLE = {
    "empty": (b"", [(1, None, "empty_file")]),
    "blank": (b"\n\n", [(1, None, "empty_file")]),
    "without header": (line().encode(), [(1, None, "bad_header")]),
    "another order": (b"email,external_id\n", [(1, None, "bad_header")]),
    "semicolons": (HEADER.replace(",", ";").encode(), [(1, None, "bad_header")]),
    "UTF-16": (f"{HEADER}\n{line()}".encode("utf-16"), [(1, None, "not_utf8")]),
    "Latin-1 inside": (
        f"{HEADER}\n{line('a')}\n{line('é')}\n{line('b', status='x')}\n".encode("latin-1"),
        [(3, None, "not_utf8"), (4, "status", "bad_status")],
    ),
    "an endless line": (f"{HEADER}\n{'x' * 70_000}\n".encode(), [(2, None, "bad_csv")]),
    "a quote that is not closed": (
        f'{HEADER}\n"{line("a")}\n{line("b")}\n'.encode(),
        [(2, None, "bad_csv")],
    ),
}


@pytest.mark.parametrize("case", WHOLE.values(), ids=WHOLE.keys())
def test_a_file_that_is_not_ours_is_refused_with_a_reason(db, plan, case):
    content, errors = case
    before = stands(db)
    report = take(db, content)
    assert found(report) == errors
    assert stands(db) == before


def test_all_errors_are_told_at_once(db, plan):
    report = take(
        db,
        [
            line(
                "", email="x", plan_code="gold", status="?", period_start="?", period_end="?", auto_renew="?"
            ),
            line("a"),
            line("a", email=""),
            line("b"),
            line("b", status="?"),
            line("c"),
            line("c", plan_code="more", email="other@example.test"),
        ],
    )
    assert found(report) == [
        (2, "external_id", "bad_external_id"),
        (2, "email", "bad_email"),
        (2, "plan_code", "unknown_plan"),
        (2, "status", "bad_status"),
        (2, "period_start", "bad_time"),
        (2, "period_end", "bad_time"),
        (2, "auto_renew", "bad_boolean"),
        (4, "external_id", "duplicate"),
        (6, "status", "bad_status"),
        (6, "external_id", "duplicate"),
        (8, "plan_code", "unknown_plan"),
    ]


def test_two_rows_of_one_customer_must_agree_on_where_to_reach_them(db, plan):
    build.plan(db, "more")
    report = take(
        db, [line("c"), line("c", plan_code="more", email="other@example.test"), line("d")], partial=True
    )
    assert found(report) == [(3, "email", "customer_mismatch")]
    assert report.created == 2


def test_partial_writes_the_rows_that_are_right(db, plan):
    report = take(db, [line("a"), line("b", status="?"), line("a"), line("c")], partial=True)
    assert numbers(report) == (4, 2, 0, 0, 2)
    names = build.rows(db, "SELECT external_id FROM customer ORDER BY 1")
    assert [name for (name,) in names] == ["a", "c"]


@pytest.mark.parametrize("partial", [True, False])
def test_a_dry_run_writes_nothing_and_reports_the_same(db, plan, partial):
    take(db, [line("a"), line("b")])
    content = [line("a"), line("b", status="canceled"), line("c"), line("d", status="?")]
    before = stands(db)
    rehearsal = take(db, content, dry_run=True, partial=partial)
    assert stands(db) == before
    assert take(db, content, partial=partial) == rehearsal
    assert numbers(rehearsal) == ((4, 1, 1, 1, 1) if partial else (4, 0, 0, 0, 1))


def test_a_byte_order_mark_and_windows_line_ends_are_no_trouble(db, plan):
    content = "\ufeff" + "\r\n".join([HEADER, line("a"), "", f'"b"{line("b")[1:]}']) + "\r\n"
    assert numbers(take(db, content)) == (2, 2, 0, 0, 0)


def test_what_was_exported_changes_nothing_when_it_is_imported(db, plan, tmp_path):
    for status in ("incomplete", "trialing", "active", "paused", "canceled"):
        build.subscription(db, status=status)
    again = build.customer(db, external_id="'=1+1", telegram_chat_id="-1005", email="+x@example.test")
    build.subscription(db, customer_id=again)
    build.subscription(db, customer_id=again)
    build.subscription(db, customer_id=build.customer(db, external_id='ü, "x"', email=None))
    for status in ("past_due", "expired"):
        build.subscription(db, status=status)
    file = tmp_path / "all.csv"
    done = export_file(db, file, actor=CLI)
    assert (done.rows, done.left_out) == (7, 3)
    before = stands(db)
    report = take(db, file.read_bytes())
    assert numbers(report) == (7, 0, 0, 7, 0)
    after = stands(db)
    assert len(after.pop("audit")) == len(before.pop("audit")) + 1
    assert after == before
    assert file.stat().st_mode & 0o077 == 0
    assert [one for one in tmp_path.iterdir() if one != file] == []


def test_an_export_into_an_empty_install_and_out_again_is_the_same_file(db, plan, tmp_path):
    take(db, [line(f"x{n}", status=status) for n, status in enumerate(["active", "trialing", "expired"])])
    export_file(db, tmp_path / "one.csv", actor=CLI)
    with db.transaction() as session:
        for table in ("provisioning", "subscription", "customer"):
            session.connection().exec_driver_sql(f"DELETE FROM {table}")
    assert numbers(take(db, (tmp_path / "one.csv").read_bytes())) == (3, 3, 0, 0, 0)
    export_file(db, tmp_path / "two.csv", actor=CLI)
    assert (tmp_path / "one.csv").read_text() == (tmp_path / "two.csv").read_text()


def test_an_exported_cell_is_never_a_formula(db, plan, tmp_path):
    build.subscription(db, customer_id=build.customer(db, external_id="=cmd|x", telegram_chat_id="@channel"))
    export_file(db, tmp_path / "all.csv", actor=CLI)
    _, row = (tmp_path / "all.csv").read_text().splitlines()
    assert row.startswith("'=cmd|x,")
    assert ",'@channel," in row


@settings(deadline=None)
@given(st.text())
def test_the_guard_against_formulas_can_always_be_taken_off(text):
    assert unguarded(guarded(text)) == text
    assert not guarded(text).startswith(("=", "+", "-", "@", "\t", "\r"))


def _many(count: int, path: Path) -> None:
    with path.open("w") as file:
        file.write(HEADER + "\n")
        for n in range(count):
            end = datetime(2027, 1, 1, tzinfo=UTC) + timedelta(minutes=n)
            file.write(line(f"m{n:06d}", period_end=end.isoformat()) + "\n")


def worked_s(db: Database) -> float:
    """Seconds of work, here and in the database's own processes: a busy machine makes waiting, not work."""
    rows = build.rows(
        db,
        """SELECT pid FROM pg_stat_activity
           WHERE datname = current_database() AND backend_type = 'client backend'""",
    )
    times = [psutil.Process(row.pid).cpu_times() for row in rows]
    return time.process_time() + sum(one.user + one.system for one in times)


def test_ten_thousand_rows_take_seconds_and_flat_memory(db, plan, tmp_path):
    small, large = tmp_path / "small.csv", tmp_path / "large.csv"
    _many(2_500, small)
    _many(10_000, large)

    def peak(path: Path) -> tuple[int, Report]:
        tracemalloc.start()
        try:
            with path.open("rb") as file:
                report = import_file(db, file, name="m", options=ImportOptions(dry_run=True), actor=CLI)
            return tracemalloc.get_traced_memory()[1], report
        finally:
            tracemalloc.stop()

    peak(small)  # what is loaded once does not count
    few, _ = peak(small)
    many, rehearsal = peak(large)
    assert many < few * 2
    began = worked_s(db)
    with large.open("rb") as file:
        report = import_file(db, file, name="m", options=ImportOptions(), actor=CLI)
    took = worked_s(db) - began
    assert report == rehearsal
    assert numbers(report) == (10_000, 10_000, 0, 0, 0)
    assert took < 30
    print(f"10,000 rows: {took:.2f} s; peak {few} B for 2,500, {many} B for 10,000")  # noqa: T201
    counted = build.rows(
        db,
        """SELECT count(*) AS n, count(DISTINCT s.customer_id) AS customers, count(p.*) AS accounts,
                  count(DISTINCT period_end) AS ends
           FROM subscription s JOIN provisioning p ON p.subscription_id = s.id AND p.enabled
                AND p.access_until = s.access_until AND p.external_id LIKE 'm%'""",
    )
    assert counted == [(10_000, 10_000, 10_000, 10_000)]
    broad = build.rows(db, "SELECT type, data->>'count' FROM event WHERE 'subscriptions' = ANY(channels)")
    assert broad == [("subscription.bulk_changed", "10000")]
    with large.open("rb") as file:
        assert numbers(import_file(db, file, name="m", options=ImportOptions(), actor=CLI))[1:4] == (
            0,
            0,
            10_000,
        )


def test_only_one_import_runs_at_a_time(db, plan):

    outcome: list[str] = []

    class Waiting(io.BytesIO):
        def readline(self, size=-1, /):
            if not outcome:
                outcome.append("asked")
                thread = threading.Thread(target=contextvars.Context().run, args=(other,))
                thread.start()
                thread.join()
            return super().readline(size)

    def other() -> None:
        try:
            take(db, [line("b")])
        except Conflict as error:
            outcome.append(error.instance_code)

    raw = f"{HEADER}\n{line('a')}\n".encode()
    report = import_file(db, Waiting(raw), name="w", options=ImportOptions(), actor=CLI)
    assert outcome == ["asked", "import_running"]
    assert report.created == 1


@pytest.mark.usefixtures("plan")
class TestCommands:
    """The commands as a person or a script uses them."""

    @pytest.fixture
    def call(self, database_url, monkeypatch, tmp_path):
        monkeypatch.setenv("TENURE_DATABASE_URL", database_url)
        monkeypatch.setenv("TENURE_DATA_DIR", str(tmp_path / "none"))

        def call(command, *arguments: str):
            return CliRunner().invoke(command, arguments, standalone_mode=False)

        return call

    def test_the_document_and_the_exit_code(self, call, tmp_path):
        file = tmp_path / "in.csv"
        file.write_text(f"{HEADER}\n{line('a')}\n")
        done = call(import_, str(file), "--json")
        assert done.return_value == 0
        assert json.loads(done.stdout) == {
            "rows": 1,
            "created": 1,
            "updated": 0,
            "unchanged": 0,
            "errors": [],
        }
        file.write_text(f"{HEADER}\n{line('a', status='gone')}\n")
        wrong = call(import_, str(file), "--json", "--partial")
        assert wrong.return_value == 1
        error = json.loads(wrong.stdout)["errors"][0]
        assert error | {"line": 2, "column": "status", "code": "bad_status"} == error
        plain = call(import_, str(file))
        assert "nothing is written" in plain.stdout
        assert "line 2, status:" in plain.stderr

    def test_an_export_says_how_many(self, db, call, tmp_path):
        build.subscription(db)
        done = call(export, str(tmp_path / "out.csv"), "--json")
        assert json.loads(done.stdout) == {"rows": 1, "left_out": 0}

    def test_a_missing_file_or_folder_is_a_usage_error(self, call, tmp_path):
        for command, path in ((import_, tmp_path / "no.csv"), (export, tmp_path / "no" / "x.csv")):
            done = call(command, str(path))
            assert done.exception.exit_code == 2, done.exception
