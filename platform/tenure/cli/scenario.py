"""`tenure scenario`: stories from the life of a subscription, lived on a throw-away stack."""

from __future__ import annotations

import json
import re
import threading
from contextlib import suppress

import click

from tenure.chaos.scenarios.catalog import SCENARIOS, scenario_named
from tenure.chaos.scenarios.play import RECIPE, play
from tenure.chaos.scenarios.told import Evidence, Scenario, StepResult
from tenure.chaos.throwaway import Stack
from tenure.chaos.throwaway import stack as throw_away
from tenure.cli.options import json_option, print_json, print_table
from tenure.cli.throwaway import heed_signals, refuse_in_production
from tenure.errors import Invalid
from tenure.kit.logging import configure_logging


@click.command()
@click.argument("name", required=False)
@click.option("--all", "all_", is_flag=True, help="All of them, one after the other on one stack.")
@click.option("--keep", is_flag=True, help="Leave the stack running afterwards, until Ctrl-C.")
@json_option
@click.pass_context
def scenario(context: click.Context, name: str | None, all_: bool, keep: bool, as_json: bool) -> None:
    """Live through a story of a subscription on a throw-away stack, step by step; exit 1 when a step fails.

    Without a NAME the scenarios are listed. Nothing of a running stack is touched.
    """
    if name is not None and all_:
        raise Invalid("give a NAME or --all, not both")
    if name is None and not all_:
        _list(as_json)
        return
    chosen = list(SCENARIOS.values()) if name is None else [scenario_named(name)]
    refuse_in_production("scenario")
    heed_signals()
    configure_logging(role="cli", level="ERROR")
    with throw_away(RECIPE, note=_aside) as running:
        evidence = [_live(running, one, as_json) for one in chosen]
        if as_json:
            print_json(evidence[0].as_dict() if name is not None else _together(evidence))
        if keep:
            _hold(running)
    context.exit(0 if all(one.ok for one in evidence) else 1)


def _list(as_json: bool) -> None:
    if as_json:
        print_json({"items": [{"name": one.name, "title": one.title} for one in SCENARIOS.values()]})
        return
    print_table(["NAME", "WHAT IT SHOWS"], [(one.name, one.title) for one in SCENARIOS.values()], empty="")


def _live(running: Stack, chosen: Scenario, as_json: bool) -> Evidence:
    """The scenario's evidence, told while it happens; to standard error where the document is wanted."""

    def tell(result: StepResult) -> None:
        click.echo(f"  {'ok  ' if result.ok else 'FAIL'}  {result.step}  ({_seconds(result)})", err=as_json)
        if not result.ok:
            click.echo(f"        expected {json.dumps(dict(result.expected))}", err=as_json)
            click.echo(f"        seen     {json.dumps(dict(result.seen))}", err=as_json)

    click.echo(f"{chosen.name}: {chosen.title}", err=as_json)
    return play(running, chosen, tell)


def _together(evidence: list[Evidence]) -> dict[str, object]:
    return {"ok": all(one.ok for one in evidence), "scenarios": [one.as_dict() for one in evidence]}


def _hold(running: Stack) -> None:
    said = (running.folder / "up.log").read_text(encoding="utf-8")
    found = re.search(r"first admin\s+(\S+)\s+password\s+(\S+)", said)
    login = f", sign in as {found[1]} with {found[2]}" if found else ""
    _aside(f"the stack stays up at {running.url}{login}; its folder is {running.data_dir}; Ctrl-C ends it")
    with suppress(KeyboardInterrupt):
        threading.Event().wait()


def _seconds(result: StepResult) -> str:
    return f"{result.took_ms / 1000:.1f} s"


def _aside(text: str) -> None:
    click.echo(text, err=True)
