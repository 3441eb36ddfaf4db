# ruff: noqa: N999 - gunicorn looks for this name
"""Gunicorn's settings: gevent, one port for API and WebSocket, and a shutdown that tells everybody.

At SIGTERM `/readyz` says 503 while everything is still served (`TENURE_DRAIN_DELAY_S`), then every
WebSocket is closed with 1001, then the process ends. psycopg and requests must not be imported here: the
worker patches the standard library first.
"""

from __future__ import annotations

import logging
import math
from typing import Any

from gunicorn.glogging import Logger

from tenure.errors import BadSettings
from tenure.kit.logging import configure_logging
from tenure.settings import load


def _drain_s() -> int:
    """How long a worker serves on after SIGTERM. The application tells what is wrong with the settings."""
    try:
        return math.ceil(load().drain_s)
    except BadSettings:
        return 0


worker_class = "web.worker.Worker"  # gevent
workers = 1
worker_connections = 2000
preload_app = False
max_requests = 0
# Goodbyes and requests in hand come behind the drain; with less, gunicorn would kill the worker before.
graceful_timeout = _drain_s() + 15
timeout = 60
keepalive = 15
# Forwarded headers are judged by our own list of trusted proxies, not by gunicorn's.
forwarded_allow_ips = ""
limit_request_line = 8190
limit_request_fields = 100
wsgi_app = "web:create_app()"
control_socket_disable = True


class JsonLogger(Logger):  # type: ignore[misc]
    """Gunicorn's own lines as JSON, like all others."""

    def setup(self, cfg: Any) -> None:  # noqa: ARG002 - gunicorn's signature
        configure_logging(role="web")
        # Requests are logged by the application, with their id and without their secrets.
        self.error_log.handlers = []
        self.error_log.propagate = True
        self.error_log.setLevel(logging.INFO)
        self.access_log.handlers = []
        self.access_log.propagate = False


logger_class = JsonLogger


def post_worker_init(worker: Any) -> None:
    from web.live.lifetime import start

    start(worker)


def worker_exit(_server: Any, worker: Any) -> None:
    from web.live.lifetime import stop

    stop(worker)
