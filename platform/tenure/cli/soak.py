"""`tenure soak`: a steady workload on a throw-away stack, and the list of what must stay quiet."""

from __future__ import annotations

import secrets

import click
from rich.console import Console

from tenure.cli.options import json_option, print_json, print_table
from tenure.cli.throwaway import heed_signals, refuse_in_production
from tenure.kit import clock
from tenure.kit.logging import configure_logging

_MOST_SEED = 2**31


@click.command()
@click.option(
    "--minutes", type=click.FloatRange(0.2, 24 * 60), default=15, show_default=True, help="How long to work."
)
@click.option("--seed", type=int, help="Makes the clients' dice fall the same way [default: a new one].")
@json_option
def soak(*, minutes: float, seed: int | None, as_json: bool) -> int:
    """Let a throw-away stack work steadily, then go through the list of what must hold; exit 1 on a finding.

    Jobs run far more often than in real life and domain time moves on. Nothing of yours is touched.
    """
    refuse_in_production("soak")
    from tenure.chaos.soak.run import soak as run

    heed_signals()
    configure_logging(role="cli", level="ERROR")
    seed = secrets.randbelow(_MOST_SEED) if seed is None else seed
    console = Console(stderr=True)
    began = clock.monotonic()
    with console.status("") as status:

        def note(what: str) -> None:
            status.update(what)
            console.print(f"[dim]{clock.monotonic() - began:7.1f} s[/dim]  {what}", highlight=False)

        note(f"soaking for {minutes:g} minutes with seed {seed}")
        soaked = run(minutes=minutes, seed=seed, note=note)
    if as_json:
        print_json(soaked.as_dict())
    else:
        rows = [("ok" if row.ok else "FOUND", row.check, row.expected, row.seen) for row in soaked.rows]
        print_table(["", "CHECK", "EXPECTED", "SEEN"], rows, empty="")
    return 0 if soaked.ok else 1
