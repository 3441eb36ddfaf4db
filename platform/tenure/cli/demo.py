"""`tenure demo`: the demo world of a development install."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import closing
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import click

from tenure.audit.record import CLI
from tenure.cli.options import data_dir_option, json_option, load_settings, open_database, print_json
from tenure.demo.marks import demo_chain, refuse_in_production
from tenure.kit.logging import configure_logging
from tenure.settings import Settings

if TYPE_CHECKING:
    from tenure.demo.traffic import Pay


@click.group()
def demo() -> None:
    """Customers in every state, and payments that keep coming. In development only.

    Everything of it is marked: external ids `demo-...`, addresses `@demo.invalid`, plans `(demo)`.
    """


@demo.command()
@data_dir_option
@json_option
def load(data_dir: Path | None, as_json: bool) -> None:
    """Build the world; what stands of it is left alone."""
    from tenure.demo.load import load as build

    settings = load_settings(data_dir)
    refuse_in_production(settings)
    with closing(open_database(settings)) as db:
        done = build(db, settings)
    if as_json:
        print_json(done.as_dict())
        return
    click.echo(f"{done.plans} plans and {done.customers} customers made")


@demo.command()
@data_dir_option
@json_option
def empty(data_dir: Path | None, as_json: bool) -> None:
    """Take the world out, and nothing else; its traffic rests until it is loaded again."""
    from tenure.demo.empty import empty as take_out

    settings = load_settings(data_dir)
    refuse_in_production(settings)
    with closing(open_database(settings)) as db:
        removed = take_out(db, settings, actor=CLI)
    if as_json:
        print_json(removed)
        return
    click.echo(", ".join(f"{count} {kind}" for kind, count in removed.items()) + " removed")


@demo.command()
@click.option(
    "--every", type=click.FloatRange(0.1), default=4.0, show_default=True, help="Seconds between steps."
)
@data_dir_option
def traffic(every: float, data_dir: Path | None) -> None:
    """Let visitors come and pay until SIGTERM."""
    from tenure.demo.stack import TRAFFIC_MARK, folder_of
    from tenure.demo.traffic import Traffic

    settings = load_settings(data_dir)
    configure_logging(role="demo-traffic")
    stopping = threading.Event()

    def stop(_number: int, _frame: FrameType | None) -> None:
        stopping.set()

    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, stop)
    with closing(open_database(settings)) as db:
        visitors = Traffic(db, settings, pay=_payer(settings))
        folder = folder_of(settings.data_dir)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (folder / TRAFFIC_MARK).write_text(f"{os.getpid()}\n", encoding="utf-8")
        visitors.run(stopping, every)


def _payer(settings: Settings) -> Pay | None:
    """The development chain's purse. It connects with the first payment: the chain may be starting."""
    chain = demo_chain(settings)
    if chain is None:
        return None
    from tenure.standins.devchain import DevChain, connect

    known: list[DevChain] = []

    def pay(address: str, amount_units: int) -> str:
        if not known:
            known.append(connect(chain.rpc_urls[0]))
        return known[0].transfer(address, amount_units)

    return pay
