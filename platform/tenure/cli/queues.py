"""`tenure queues`: what waits in each queue, since when, and how long due work waited."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import click
import redis

from tenure.cli.options import (
    data_dir_option,
    json_option,
    load_settings,
    open_database,
    print_json,
    print_table,
)
from tenure.errors import Unavailable
from tenure.iterations.catalog import catalog
from tenure.iterations.queues import depths, samples
from tenure.kit.valkey import connect


@click.command(name="queues")
@data_dir_option
@json_option
def queues_(data_dir: Path | None, as_json: bool) -> None:
    """List the queues: what waits, since when, and how long due work waited for its START."""
    settings = load_settings(data_dir)
    jobs = catalog(settings)
    with closing(connect(settings.require_broker_url())) as broker:
        try:
            depth = depths(broker, jobs)
        except redis.RedisError as error:
            raise Unavailable(f"the broker does not answer ({type(error).__name__})") from error
    with closing(open_database(settings)) as db, db.transaction() as session:
        items = samples(session, depth, jobs)
    if as_json:
        print_json({"items": items})
        return
    rows = [
        (
            one["queue"],
            one["depth"],
            one["pending"],
            f"{one['oldest_s']:g} s",
            None if one["wait_p95_s"] is None else f"{one['wait_p95_s']:g} s",
            ", ".join(one["paused_jobs"]),
        )
        for one in items
    ]
    print_table(["QUEUE", "MESSAGES", "SLOTS", "OLDEST", "WAIT P95", "PAUSED"], rows, empty="no queues")
