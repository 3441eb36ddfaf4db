"""`tenure chaos`: faults against a throw-away stack, and the evidence of what they left."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from tenure.chaos.storms import STORMS
from tenure.cli.options import json_option, print_json, print_table
from tenure.cli.throwaway import heed_signals, refuse_in_production
from tenure.errors import NotFound
from tenure.kit import clock

_MOST_SEED = 2**31


@click.command()
@click.argument("name", required=False)
@click.option("--list", "as_list", is_flag=True, help="Show the runs and what each does.")
@click.option("--seed", type=int, help="Makes the same plan again [default: a new one, which is printed].")
@click.option(
    "--times", "--kills", type=click.IntRange(1, 10_000), help="How many faults [default: the run's own]."
)
@click.option(
    "--heal-within", type=float, default=30.0, show_default=True, help="Seconds that healing may take."
)
@click.option(
    "--evidence",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="A folder that history, logs and journals are kept in.",
)
@json_option
def chaos(
    *,
    name: str | None,
    as_list: bool,
    seed: int | None,
    times: int | None,
    heal_within: float,
    folder: Path | None,
    as_json: bool,
) -> int:
    """Start a throw-away stack, strike it with the faults of run NAME (or `all`), and check what is left.

    Exit 1 when anything is found wanting, or when a fault did not happen. Nothing of yours is touched.
    """
    refuse_in_production("chaos")
    if as_list or name is None:
        return _show_list(as_json)
    if name != "all" and name not in STORMS:
        raise NotFound(f"there is no run {name!r}; there are: all, {', '.join(STORMS)}")
    from tenure.chaos.run import Options, run

    heed_signals()
    chosen = list(STORMS.values()) if name == "all" else [STORMS[name]]
    seed = secrets.randbelow(_MOST_SEED) if seed is None else seed
    console = Console(stderr=True)
    told = []
    for storm in chosen:
        console.print(f"[bold]{storm.name}[/bold] with seed {seed}: {storm.title}")
        own = folder / storm.name if folder is not None and name == "all" else folder
        options = Options(seed, times, heal_within, own)
        with console.status("") as status:
            began = clock.monotonic()

            def note(what: str, began: float = began) -> None:
                status.update(what)
                console.print(f"[dim]{clock.monotonic() - began:7.1f} s[/dim]  {what}", highlight=False)

            evidence = run(storm, options, note)
        _show(console, evidence)
        told.append(evidence)
    ok = all(evidence["ok"] for evidence in told)
    if as_json:
        print_json({"ok": ok, "seed": seed, "runs": told} if name == "all" else told[0])
    return 0 if ok else 1


def _show_list(as_json: bool) -> int:
    items = [{"name": storm.name, "title": storm.title, "times": storm.times} for storm in STORMS.values()]
    if as_json:
        print_json({"items": items})
    else:
        print_table(("RUN", "WHAT IT DOES"), [(item["name"], item["title"]) for item in items], empty="")
    return 0


def _show(console: Console, evidence: dict[str, Any]) -> None:
    if evidence["skipped"]:
        console.print(f"[yellow]SKIPPED[/yellow] {evidence['run']}: {evidence['skipped']}")
        return
    operations = {
        kind: sum(counts[kind] for counts in evidence["operations"].values())
        for kind in ("ok", "fail", "info")
    }
    verdict = "[green]holds[/green]" if evidence["ok"] else "[red]FOUND WANTING[/red]"
    console.print(
        f"{evidence['run']} {verdict}: {len(evidence['faults'])} faults, {operations['ok']} operations ok, "
        f"{operations['fail']} refused, {operations['info']} open; at rest after {evidence['heal_s']} s; "
        f"seed {evidence['seed']}"
    )
    for finding in evidence["findings"]:
        console.print(f"  [red]{finding['rule']}[/red] {finding['subject']}: {finding['message']}")
