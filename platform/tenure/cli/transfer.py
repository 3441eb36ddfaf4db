"""`tenure import` and `tenure export`: subscriptions as CSV."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import BinaryIO, Final

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from tenure.audit.record import CLI
from tenure.cli.options import data_dir_option, json_option, load_settings, print_json
from tenure.imports.export_file import export_file
from tenure.imports.import_file import ImportOptions, Report, import_file
from tenure.kit.db import Database
from tenure.settings import Settings

_SHOWN: Final = 50
# One statement over a large file takes longer than any of a service's.
_STATEMENT_S: Final = 900


@click.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, readable=True, path_type=Path))
@click.option("--dry-run", is_flag=True, help="Write nothing; report the same numbers.")
@click.option("--partial", is_flag=True, help="Write the rows that are right although others are wrong.")
@click.option(
    "--assume-provisioned",
    is_flag=True,
    help="The provisioner has these accounts: do not tell it.",
)
@data_dir_option
@json_option
def import_(
    file: Path,
    *,
    dry_run: bool,
    partial: bool,
    assume_provisioned: bool,
    data_dir: Path | None,
    as_json: bool,
) -> int:
    """Import subscriptions from FILE, a CSV with the columns of `tenure export`.

    Every error is reported. Without --partial nothing is written if there is one. Exit code 1 on any error.
    """
    options = ImportOptions(dry_run, partial, assume_provisioned)
    with (
        closing(_database(load_settings(data_dir))) as db,
        file.open("rb") as opened,
        _bar(file, opened) as advance,
    ):
        report = import_file(db, opened, name=file.name, options=options, actor=CLI, on_progress=advance)
    if as_json:
        print_json(report.as_dict())
    else:
        _tell(report, options)
    return 1 if report.errors else 0


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, writable=True, path_type=Path))
@data_dir_option
@json_option
def export(file: Path, *, data_dir: Path | None, as_json: bool) -> None:
    """Export subscriptions to FILE as CSV, to be imported again.

    Left out are those that were never paid for, are paused, or have a newer one of the same plan.
    """
    if not file.absolute().parent.is_dir():
        raise click.BadParameter(f"there is no directory {file.parent}", param_hint="FILE")
    with closing(_database(load_settings(data_dir))) as db:
        done = export_file(db, file, actor=CLI)
    if as_json:
        print_json(done.as_dict())
        return
    left = f"; {done.left_out} that the format cannot hold are left out" if done.left_out else ""
    click.echo(f"{done.rows} subscriptions written to {file}{left}")


def _database(settings: Settings) -> Database:
    return Database(
        settings.require_database_url(),
        pool_size=1,
        application="tenure-transfer",
        statement_timeout_s=_STATEMENT_S,
    )


def _tell(report: Report, options: ImportOptions) -> None:
    for error in report.errors[:_SHOWN]:
        where = f"line {error.line}" + (f", {error.column}" if error.column else "")
        click.echo(f"{where}: {error.message} ({error.code})", err=True)
    more = len(report.errors) - _SHOWN
    if more > 0:
        click.echo(f"and {more} more errors; --json lists all", err=True)
    verb = "would be " if options.dry_run else ""
    if report.errors and not options.partial:
        click.echo(f"{report.rows} rows, {len(report.errors)} errors: nothing is written")
        return
    click.echo(
        f"{report.rows} rows: {report.created} {verb}created, {report.updated} {verb}updated, "
        f"{report.unchanged} unchanged, {len(report.errors)} errors"
    )


@contextmanager
def _bar(path: Path, file: BinaryIO) -> Iterator[Callable[[], None]]:
    """A bar for a person who watches; nothing for a pipe."""
    if not sys.stderr.isatty():
        yield lambda: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(f"reading {path.name}", total=max(path.stat().st_size, 1))

        def advance() -> None:
            at = file.tell()
            whole = at >= path.stat().st_size
            progress.update(task, completed=at, description="writing" if whole else f"reading {path.name}")

        yield advance
