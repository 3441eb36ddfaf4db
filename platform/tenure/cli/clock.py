"""`tenure clock`: domain time of the sandbox."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from sqlalchemy.orm import Session

from tenure.audit.record import CLI
from tenure.cli.options import data_dir_option, json_option, load_settings, open_database, print_json
from tenure.errors import Invalid
from tenure.kit.times import parse_span
from tenure.subscriptions import sandbox_clock


@click.group()
def clock() -> None:
    """Show or move the domain time of a development install.

    Periods, trials, grace and reminders follow it; slots, leases and logs do not.
    """


@clock.command()
@data_dir_option
@json_option
def show(data_dir: Path | None, as_json: bool) -> None:
    """Show domain time and how far it is ahead."""
    _change(data_dir, as_json, sandbox_clock.show)


@clock.command()
@click.argument("span")
@data_dir_option
@json_option
def advance(span: str, data_dir: Path | None, as_json: bool) -> None:
    """Move domain time forward by SPAN, such as 90s, 15m, 12h, 3d or 2w."""
    by = parse_span(span, field="span")
    _change(data_dir, as_json, lambda session: sandbox_clock.advance(session, by, actor=CLI))


@clock.command()
@data_dir_option
@json_option
def reset(data_dir: Path | None, as_json: bool) -> None:
    """Make domain time machine time again."""
    _change(data_dir, as_json, lambda session: sandbox_clock.reset(session, actor=CLI))


def _change(data_dir: Path | None, as_json: bool, act: Callable[[Session], dict[str, Any]]) -> None:
    settings = load_settings(data_dir)
    if settings.is_production:
        raise Invalid("the clock of a production install is not moved")
    db = open_database(settings)
    try:
        with db.transaction() as session:
            stands = act(session)
    finally:
        db.close()
    if as_json:
        print_json(stands)
        return
    click.echo(f"{stands['now']}  ({stands['offset_s']} s ahead of machine time)")
