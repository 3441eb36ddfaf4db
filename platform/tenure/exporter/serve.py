"""The exporter role: prometheus-client's own server on loopback, until SIGTERM."""

from __future__ import annotations

import signal
import threading

from prometheus_client import start_http_server

from tenure.exporter.render import registry
from tenure.kit.db import Database
from tenure.kit.logging import get_logger
from tenure.kit.valkey import connect
from tenure.settings import Settings

_log = get_logger(__name__)


def serve(settings: Settings, *, host: str, port: int) -> None:
    """Serve `/metrics` until SIGTERM or SIGINT."""
    db = Database(settings.require_database_url(), pool_size=2, application="tenure-exporter")
    metrics = registry(
        settings, db, connect(settings.require_broker_url()), connect(settings.require_live_url())
    )
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    server, thread = start_http_server(port, host, registry=metrics)
    _log.info("exporter.started", host=host, port=port)
    stop.wait()
    server.shutdown()
    thread.join(timeout=5)
    db.close()
    _log.info("exporter.stopped")
