"""Options that many commands share, and how results are printed."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import click
from rich.console import Console
from rich.table import Table

from tenure import settings as settings_module
from tenure.kit.db import Database
from tenure.kit.logging import configure_logging, mask_in_logs
from tenure.settings import Settings

_LONGEST_LINE: Final = 10_000
F = TypeVar("F", bound=Callable[..., Any])


def data_dir_option(function: F) -> F:
    """`--data-dir`: where the stack lives; else TENURE_DATA_DIR, else ./.tenure."""
    return click.option(
        "--data-dir",
        type=click.Path(path_type=Path, file_okay=False),
        help="The stack's directory [default: $TENURE_DATA_DIR, else ./.tenure].",
    )(function)


def json_option(function: F) -> F:
    """`--json`: one document on standard output."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")(function)


def load_settings(data_dir: Path | None) -> Settings:
    """The settings for a command, with logs on standard error and secrets masked."""
    settings = settings_module.load(data_dir=data_dir)
    mask_in_logs(settings.secrets())
    configure_logging(role="cli", level="WARNING")
    return settings


def open_database(settings: Settings) -> Database:
    """A small pool for a command that ends soon."""
    return Database(settings.require_database_url(), pool_size=2, application="tenure-cli")


def print_json(document: Any) -> None:
    """One document on standard output."""
    click.echo(json.dumps(document, indent=2, default=str))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, empty: str) -> None:
    """A table for people; `empty` is the sentence for no rows."""
    if not rows:
        click.echo(empty)
        return
    console = Console(markup=False, emoji=False)  # cells hold what people wrote, brackets included
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:  # an id that is cut is no id: what does not fit goes on in the next line
        table.add_column(column, overflow="fold", no_wrap=not console.is_terminal)
    for row in rows:
        table.add_row(*("" if cell is None else str(cell) for cell in row))
    if not console.is_terminal:  # for `grep` and `awk`: a row is a line, as long as it may be
        console.width = _LONGEST_LINE
    console.print(table)
