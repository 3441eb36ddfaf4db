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
from tenure.kit.times import rfc3339
from tenure.verify.printed import Printed, printed
from tenure.verify.run import verify as check_all


@click.command()
@data_dir_option
@json_option
@click.pass_context
def verify(context: click.Context, data_dir: Path | None, as_json: bool) -> None:
    """Check what must always hold (money, access, notices, runs, events); exit 1 if anything does not.

    Reads only, so it may be run at any time, also while everything works. Iterations whose START or END line
    is missing in the log of this machine's stack are counted as unprinted; their rows are the proof, so that
    breaks nothing.
    """
    settings = load_settings(data_dir)
    check_reachable(settings.require_database_url())
    db = open_database(settings)
    try:
        verdicts = list(check_all(db))
        log = printed(db, settings.data_dir / "logs")
    finally:
        db.close()
    holds = not any(verdict.violated for verdict in verdicts)
    if as_json:
        print_json(
            {
                "ok": holds,
                "invariants": [verdict.as_dict() for verdict in verdicts],
                "unprinted": log.unprinted if log else None,
                "log": log.as_dict() if log else None,
            }
        )
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
        click.echo(_about_the_log(log))
    context.exit(0 if holds else 1)


def _about_the_log(log: Printed | None) -> str:
    if log is None:
        return "log: no worker's log is in the data directory, so lines were not compared"
    said = f"log: {log.unprinted} of {log.checked} iterations since {rfc3339(log.since)} are unprinted"
    return f"{said} (a line is missing, the row is there): {' '.join(log.samples)}" if log.unprinted else said
