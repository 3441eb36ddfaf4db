"""`tenure backup` and `tenure restore`: the whole database as one file, and back."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import click

from tenure.audit.record import CLI
from tenure.backups.back_up import back_up
from tenure.backups.restore import restore as restore_file
from tenure.cli.options import data_dir_option, json_option, load_settings, print_json
from tenure.kit.db import Database, check_reachable

# ANALYZE after a restore is the longest statement of our own.
_STATEMENT_S = 900


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--force", is_flag=True, help="Overwrite FILE.")
@data_dir_option
@json_option
def backup(file: Path, *, force: bool, data_dir: Path | None, as_json: bool) -> None:
    """Write the whole database to FILE, as of one moment, while everything goes on.

    FILE is for its owner alone: it holds all data. TENURE_SECRET_KEY is not in it; keep that apart.
    """
    if not file.absolute().parent.is_dir():
        raise click.BadParameter(f"there is no directory {file.parent}", param_hint="FILE")
    with closing(_database(data_dir)) as db:
        size = back_up(db, file.absolute(), force=force, actor=CLI)
    if as_json:
        print_json({"file": str(file), "bytes": size})
        return
    click.echo(f"{size} bytes written to {file}")


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, readable=True, path_type=Path))
@click.option(
    "--force", is_flag=True, help="Replace what the database holds, even while processes work on it."
)
@data_dir_option
@json_option
def restore(file: Path, *, force: bool, data_dir: Path | None, as_json: bool) -> None:
    """Bring the database to what FILE, made by `tenure backup`, holds: all of it, or nothing on any error.

    Without --force the database must be empty and nobody at work on it.
    """
    with closing(_database(data_dir)) as db:
        tables = restore_file(db, file.absolute(), force=force, actor=CLI)
    if as_json:
        print_json({"file": str(file), "tables": tables})
        return
    click.echo(
        f"{tables} tables restored from {file}; now run `tenure migrate`, then start the processes anew"
    )


def _database(data_dir: Path | None) -> Database:
    url = load_settings(data_dir).require_database_url()
    check_reachable(url)
    return Database(url, pool_size=1, application="tenure-backup", statement_timeout_s=_STATEMENT_S)
