# ruff: noqa: N999 - gunicorn looks for this name
"""Gunicorn's settings: gevent, one port for API and WebSocket, and a shutdown that tells everybody.

At SIGTERM `/readyz` says 503 while everything is still served (`TENURE_DRAIN_DELAY_S`), then every
WebSocket is closed with 1001, then the process ends. psycopg and requests must not be imported here: the
worker patches the standard library first.
"""

from __future__ import annotations

import logging
from typing import Any

worker_class = "gevent"
workers = 1
worker_connections = 2000
preload_app = False
max_requests = 0
graceful_timeout = 15
timeout = 60
keepalive = 15
# Forwarded headers are judged by our own list of trusted proxies, not by gunicorn's.
forwarded_allow_ips = ""
limit_request_line = 8190
limit_request_fields = 100
wsgi_app = "web:create_app()"
control_socket_disable = True


def on_starting(_server: Any) -> None:
    _log_as_json()


def post_fork(_server: Any, _worker: Any) -> None:
    _log_as_json()


def post_worker_init(worker: Any) -> None:
    from web.live.lifetime import start

    start(worker)


def worker_exit(_server: Any, worker: Any) -> None:
    from web.live.lifetime import stop

    stop(worker)


def _log_as_json() -> None:
    from tenure.kit.logging import configure_logging

    configure_logging(role="web")
    for name in ("gunicorn.error", "gunicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers = []
        logger.propagate = name == "gunicorn.error"
