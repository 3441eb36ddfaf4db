"""`tenure verify`: every invariant, checked against the record."""

from __future__ import annotations

from pathlib import Path

import click

from tenure.cli.options import (
    data_dir_option,
    json_option,
    load_settings,
    open_database,
    print_json,
    print_table,
)
from tenure.kit.db import check_reachable
from tenure.verify.run import verify as check_all


@click.command()
@data_dir_option
@json_option
@click.pass_context
def verify(context: click.Context, data_dir: Path | None, as_json: bool) -> None:
    """Check what must always hold (money, access, notices, runs, events); exit 1 if anything does not.

    Reads only, so it may be run at any time, also while everything works.
    """
    settings = load_settings(data_dir)
    check_reachable(settings.require_database_url())
    db = open_database(settings)
    try:
        verdicts = list(check_all(db))
    finally:
        db.close()
    holds = not any(verdict.violated for verdict in verdicts)
    if as_json:
        print_json({"ok": holds, "invariants": [verdict.as_dict() for verdict in verdicts]})
    else:
        rows = [
            (
                "VIOLATED" if verdict.violated else "ok",
                verdict.id,
                verdict.title,
                verdict.checked,
                verdict.violated,
                " ".join(verdict.samples),
            )
            for verdict in verdicts
        ]
        print_table(["", "ID", "INVARIANT", "CHECKED", "VIOLATED", "SAMPLES"], rows, empty="")
    context.exit(0 if holds else 1)
