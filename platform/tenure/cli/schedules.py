"""`tenure schedule`: when jobs are due, and pausing, resuming and changing it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

import click
from sqlalchemy import text
from sqlalchemy.orm import Session

from tenure.audit.record import CLI
from tenure.cli.options import (
    data_dir_option,
    json_option,
    load_settings,
    open_database,
    print_json,
    print_table,
)
from tenure.errors import Invalid
from tenure.iterations import operate, queries, schedules
from tenure.iterations.catalog import Job, catalog, job_named
from tenure.kit.times import parse_moment, parse_span
from tenure.settings import Settings


@click.group()
def schedule() -> None:
    """Show, pause, resume and change when jobs are due."""


@schedule.command()
@click.argument("job", required=False)
@data_dir_option
@json_option
def show(job: str | None, data_dir: Path | None, as_json: bool) -> None:
    """Show when each job is due, or JOB alone."""
    settings = load_settings(data_dir)
    jobs = catalog(settings) if job is None else {job: job_named(settings, job)}

    def read(session: Session) -> list[dict[str, Any]]:
        return queries.schedules(session, jobs) if job is None else [queries.schedule(session, jobs, job)]

    items = _within(settings, read)
    if as_json:
        print_json({"items": items})
    else:
        _print(items)


@schedule.command()
@click.argument("job")
@click.option("--reason", required=True, help="Why; kept in the audit log.")
@click.option("--until", help="RFC 3339, or 15m, 12h, 3d from now [default: until somebody resumes].")
@data_dir_option
@json_option
def pause(job: str, reason: str, until: str | None, data_dir: Path | None, as_json: bool) -> None:
    """Let no scheduled slot of JOB start; runs on request still work."""
    settings = load_settings(data_dir)

    def act(session: Session, chosen: Job) -> dict[str, Any]:
        end = _until(session, until)
        return operate.pause_schedule(session, chosen, until=end, reason=reason, actor=CLI)

    _operate(settings, job, act, as_json)


@schedule.command()
@click.argument("job")
@data_dir_option
@json_option
def resume(job: str, data_dir: Path | None, as_json: bool) -> None:
    """End the pause of JOB and lift its quarantine."""
    _operate(
        load_settings(data_dir),
        job,
        lambda session, chosen: operate.resume_schedule(session, chosen, actor=CLI),
        as_json,
    )


@schedule.command()
@click.argument("job")
@click.option("--every", "every", help="A period: seconds, or 90s, 15m, 12h, 1d.")
@click.option("--cron", help="A cron expression, such as '0 3 * * *'.")
@click.option("--timezone", help="The IANA time zone of the cron expression.")
@click.option("--default", "default", is_flag=True, help="Back to the period that the catalog has.")
@click.option("--enable/--disable", "enabled", default=None, help="Whether it is due at all.")
@data_dir_option
@json_option
def edit(
    job: str,
    every: str | None,
    cron: str | None,
    timezone: str | None,
    default: bool,
    enabled: bool | None,
    data_dir: Path | None,
    as_json: bool,
) -> None:
    """Change when JOB is due: a period or a cron expression in a time zone."""
    given = {"every_s": _seconds(every), "cron": cron, "timezone": timezone, "enabled": enabled}
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if default:
        if every is not None or cron is not None:
            raise Invalid("--default cannot be combined with --every or --cron")
        changes |= {"every_s": None, "cron": None}
    _operate(
        load_settings(data_dir),
        job,
        lambda session, chosen: operate.edit_schedule(session, chosen, changes, actor=CLI),
        as_json,
    )


@schedule.command()
@click.argument("job")
@click.option("--every", "every", help="A period: seconds, or 90s, 15m, 12h, 1d.")
@click.option("--cron", help="A cron expression, such as '0 3 * * *'.")
@click.option("--timezone", help="The IANA time zone of the cron expression.")
@click.option("--count", type=click.IntRange(1, 50), default=5, show_default=True)
@data_dir_option
@json_option
def preview(
    job: str,
    every: str | None,
    cron: str | None,
    timezone: str | None,
    count: int,
    data_dir: Path | None,
    as_json: bool,
) -> None:
    """Show the next due times of JOB as it is, or as a change would make it; nothing is changed."""
    settings = load_settings(data_dir)
    chosen = job_named(settings, job)
    given = {"every_s": _seconds(every), "cron": cron, "timezone": timezone}
    changes = {name: value for name, value in given.items() if value is not None}
    shown = _within(
        settings, lambda session: schedules.preview(session, chosen, changes, after=None, count=count)
    )
    if as_json:
        print_json(shown)
        return
    click.echo(f"{job}: {shown['in_words']}")
    print_table(
        ["DUE", shown["timezone"]],
        [(due["at"], due["local"]) for due in shown["due"]],
        empty="it is never due",
    )


def _operate(
    settings: Settings, job: str, act: Callable[[Session, Job], dict[str, Any]], as_json: bool
) -> None:
    chosen = job_named(settings, job)
    stands = _within(settings, lambda session: act(session, chosen))
    if as_json:
        print_json(stands)
    else:
        click.echo(f"{job}: {_sentence(stands)}")


def _within(settings: Settings, work: Callable[[Session], Any]) -> Any:
    db = open_database(settings)
    try:
        with db.transaction() as session:
            return work(session)
    finally:
        db.close()


def _until(session: Session, given: str | None) -> datetime | None:
    if given is None:
        return None
    if given[:1].isdigit() and given[-1:].isalpha() and "T" not in given:
        now: datetime = session.execute(text("SELECT clock_timestamp()")).scalar_one()
        return now + parse_span(given, field="--until")
    return parse_moment(given, field="--until")


def _seconds(given: str | None) -> float | None:
    if given is None:
        return None
    try:
        return float(given)
    except ValueError:
        return parse_span(given, field="--every").total_seconds()


def _sentence(stands: dict[str, Any]) -> str:
    parts = [stands["in_words"]]
    if stands.get("enabled") is False:
        parts.append("disabled")
    if stands["paused"]:
        parts.append(f"paused {_how_long(stands)} ({stands['pause_reason']})")
    elif stands.get("enabled"):
        parts.append(f"next due {stands['next_due_at']}")
    return "; ".join(parts)


def _how_long(stands: dict[str, Any]) -> str:
    return f"until {stands['paused_until']}" if stands["paused_until"] else "until somebody resumes"


def _print(items: Iterable[dict[str, Any]]) -> None:
    rows = [
        (
            item["job"],
            item["in_words"],
            "disabled" if not item["enabled"] else _how_long(item) if item["paused"] else item["next_due_at"],
            item["pause_reason"],
            item["paused_by_name"],
            "quarantined" if item["quarantined"] else None,
        )
        for item in items
    ]
    print_table(["JOB", "DUE", "NEXT, OR PAUSED", "WHY", "BY", ""], rows, empty="no job has a schedule")
