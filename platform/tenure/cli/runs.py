"""`tenure jobs|run|iterations|slots`: the ledger, and runs on request."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import click
from sqlalchemy import text

from tenure.audit.record import CLI
from tenure.cli.options import (
    data_dir_option,
    json_option,
    load_settings,
    open_database,
    print_json,
    print_table,
)
from tenure.iterations import operate, queries
from tenure.iterations.catalog import catalog, job_named
from tenure.kit import clock
from tenure.kit.db import Database
from tenure.kit.times import parse_moment, parse_span
from tenure.model.iteration import REASONS

_POLL_S: Final = 0.1


def moment_ago(db: Database, given: str | None) -> datetime | None:
    """`15m` ago by the database's clock, or an RFC 3339 time."""
    if given is None:
        return None
    if given[:1].isdigit() and given[-1:].isalpha() and "T" not in given:
        with db.transaction() as session:
            now: datetime = session.execute(text("SELECT clock_timestamp()")).scalar_one()
        return now - parse_span(given, field="--since")
    return parse_moment(given, field="--since")


@click.command()
@data_dir_option
@json_option
def jobs(data_dir: Path | None, as_json: bool) -> None:
    """List the jobs with their schedule, limits and last iteration."""
    settings = load_settings(data_dir)
    with open_database(settings).transaction() as session:
        items = queries.jobs(session, catalog(settings))
    if as_json:
        print_json({"items": items})
        return
    rows = [
        (
            job["name"],
            "on request" if job["schedule"] is None else job["schedule"]["in_words"],
            f"{job['soft_s']:g}/{job['hard_s']:g} s",
            job["queue"],
            "paused" if (job["schedule"] or {}).get("paused") else "",
            (job["last_iteration"] or {}).get("outcome"),
            job["title"],
        )
        for job in items
    ]
    print_table(["JOB", "EVERY", "LIMITS", "QUEUE", "", "LAST", "WHAT"], rows, empty="no jobs")


@click.command()
@click.argument("job")
@click.option("--scope", default="", help="The part of the work to run, when the job has parts.")
@click.option("--wait", "wait_s", type=float, help="Wait so many seconds for the END.")
@data_dir_option
@json_option
@click.pass_context
def run(
    context: click.Context,
    job: str,
    scope: str,
    wait_s: float | None,
    data_dir: Path | None,
    as_json: bool,
) -> None:
    """Run a job now; with --wait, exit 0 only if it ended ok."""
    settings = load_settings(data_dir)
    db = open_database(settings)
    with db.transaction() as session:
        requested = operate.run_now(session, job_named(settings, job), scope=scope, actor=CLI)
    result = _wait(db, requested.slot_id, wait_s) if wait_s is not None else _slot(db, requested.slot_id)
    if as_json:
        print_json(result)
    else:
        click.echo(_sentence(result))
    if wait_s is not None:
        context.exit(0 if result.get("outcome") == "ok" else 1)


def _slot(db: Database, slot_id: str) -> dict[str, Any]:
    with db.transaction() as session:
        return queries.slot(session, slot_id)


def _wait(db: Database, slot_id: str, wait_s: float) -> dict[str, Any]:
    deadline = clock.monotonic() + wait_s
    while True:
        slot = _slot(db, slot_id)
        if slot["state"] == "skipped":
            return slot
        if slot["iteration_ids"]:
            with db.transaction() as session:
                iteration = queries.iteration(session, slot["iteration_ids"][-1])
            if iteration["ended_at"] is not None or clock.monotonic() > deadline:
                return iteration
        elif clock.monotonic() > deadline:
            return slot
        time.sleep(_POLL_S)


def _sentence(result: dict[str, Any]) -> str:
    if "origin" in result:
        reason = f" ({result['reason']})" if result["reason"] else ""
        return f"{result['job']}: slot {result['id']} is {result['state']}{reason}"
    outcome = result["outcome"] or "still running"
    error = f" ({result['error_type']})" if result["error_type"] else ""
    return f"{result['job']}: {outcome}{error}, iteration {result['id']}, {result['duration_ms']} ms"


@click.command()
@click.option("--job")
@click.option("--scope")
@click.option("--outcome", type=click.Choice(["ok", "failed", "timed_out", "killed", "lost", "canceled"]))
@click.option("--slot", "slot_id")
@click.option("--since", help="RFC 3339, or 15m, 3d ago.")
@click.option("--open", "is_open", is_flag=True, default=None, help="Only those without an END.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@data_dir_option
@json_option
def iterations(
    job: str | None,
    scope: str | None,
    outcome: str | None,
    slot_id: str | None,
    since: str | None,
    is_open: bool | None,
    limit: int,
    data_dir: Path | None,
    as_json: bool,
) -> None:
    """List iterations, newest first."""
    db = open_database(load_settings(data_dir))
    since_at = moment_ago(db, since)
    with db.transaction() as session:
        page = queries.iterations(
            session, job=job, scope=scope, outcome=outcome, slot_id=slot_id, since=since_at,
            is_open=is_open, limit=limit,
        )  # fmt: skip
    if as_json:
        print_json({"items": page.items})
        return
    rows = [
        (i["started_at"], i["job"], i["scope"], i["outcome"] or "running", i["ended_by"], i["duration_ms"],
         i["error_type"], i["worker"], i["id"])
        for i in page.items
    ]  # fmt: skip
    columns = ["STARTED", "JOB", "SCOPE", "OUTCOME", "END BY", "MS", "ERROR", "WORKER", "ID"]
    print_table(columns, rows, empty="no iterations match")


@click.command(name="slots")
@click.option("--job")
@click.option("--state", type=click.Choice(["pending", "started", "skipped"]))
@click.option("--reason", type=click.Choice(REASONS))
@click.option("--since", help="RFC 3339, or 15m, 3d ago.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@data_dir_option
@json_option
def slots_(
    job: str | None,
    state: str | None,
    reason: str | None,
    since: str | None,
    limit: int,
    data_dir: Path | None,
    as_json: bool,
) -> None:
    """List slots, newest first: what started, what was skipped, and why."""
    db = open_database(load_settings(data_dir))
    since_at = moment_ago(db, since)
    with db.transaction() as session:
        page = queries.slots(session, job=job, state=state, reason=reason, since=since_at, limit=limit)
    if as_json:
        print_json({"items": page.items})
        return
    rows = [
        (s["due_at"], s["job"], s["scope"], s["state"], s["reason"], s["count"], s["id"]) for s in page.items
    ]
    print_table(["DUE", "JOB", "SCOPE", "STATE", "REASON", "COUNT", "ID"], rows, empty="no slots match")
