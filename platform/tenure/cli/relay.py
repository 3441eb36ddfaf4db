"""`tenure relay`: the resident role that orders events and carries them to the live layer."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click
import redis

from tenure import settings as settings_module
from tenure.cli.options import data_dir_option
from tenure.events.publish import Publisher
from tenure.events.relay import Every, Relay
from tenure.iterations import queues
from tenure.iterations.catalog import catalog
from tenure.iterations.node import Node
from tenure.kit import crash
from tenure.kit import db as db_kit
from tenure.kit import valkey as valkey_kit
from tenure.kit.clock import utc_now
from tenure.kit.db import Database, check_reachable
from tenure.kit.error_reports import report_errors
from tenure.kit.ids import new_id
from tenure.kit.logging import configure_logging, get_logger, mask_in_logs
from tenure.kit.times import rfc3339
from tenure.kit.valkey import connect
from tenure.kit.watchdog import Condition, Watchdog
from tenure.settings import Settings

_log = get_logger("tenure.relay")
_SAMPLE_EVERY_S: Final = 2.0


@click.command()
@data_dir_option
def relay(data_dir: Path | None) -> None:
    """Run the relay until SIGTERM. Several may run; one leads."""
    settings = settings_module.load(data_dir=data_dir)
    mask_in_logs(settings.secrets())
    configure_logging(role="relay")
    report_errors(settings.sentry_dsn, environment=settings.env)
    crash.arm(settings.crash_at, settings.data_dir, role="relay")
    url = settings.require_database_url()
    check_reachable(url)
    db = Database(url, pool_size=1, application="tenure-relay")
    node = Node(role="relay", name="relay", database_url=url, lease_s=settings.node_lease_s)
    node.register()
    watchdog = _watchdog(settings)
    node.on_renewed = watchdog.sign("lease", "database").stamp
    node.start()
    worker = Relay(
        db,
        connect(settings.require_live_url()),
        sample=Every(_SAMPLE_EVERY_S, _sampler(settings, db)),
        on_round=watchdog.sign("round", "database", "live").stamp,
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: worker.stop())
    watchdog.start()
    _log.info("db.pool", max_size=1)
    _log.info("relay.started")
    try:
        worker.run()
    finally:
        watchdog.stop()
        node.stop()
        db.close()
    _log.info("relay.stopped")


def _watchdog(settings: Settings) -> Watchdog:
    database, live = settings.require_database_url(), settings.require_live_url()
    return Watchdog(
        role="relay",
        limit_s=settings.watchdog_s,
        grace_s=settings.watchdog_grace_s,
        conditions=[
            Condition("database", lambda: db_kit.answers(database)),
            Condition("live", lambda: valkey_kit.answers(live)),
        ],
    )


def _sampler(settings: Settings, db: Database) -> Callable[[Publisher], None]:
    broker = connect(settings.require_broker_url(), timeout_s=_SAMPLE_EVERY_S)
    jobs = catalog(settings)

    def sample(publisher: Publisher) -> None:
        """Tell what each queue holds now. Without the broker there is nothing true to tell."""
        try:
            depth = queues.depths(broker, jobs)
        except redis.RedisError as error:
            _log.warning("queues.unknown", reason=type(error).__name__)
            return
        with db.transaction() as session:
            found = queues.samples(session, depth, jobs)
        for one in found:
            publisher.ring("queues", _event(one))

    return sample


def _event(sample: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": new_id("evt"),
        "seq": None,
        "type": "queue.sample",
        "ts": rfc3339(utc_now()),
        "subject": f"queue:{sample['queue']}",
        "data": sample,
    }
