"""The hub's life inside a gunicorn worker: it starts with the worker, and SIGTERM ends it in order.

`/readyz` says 503 while everything is still served, then all sockets get 1001, then the worker ends.
"""

from __future__ import annotations

import signal
from typing import Any

import gevent
import redis

from tenure.kit.logging import get_logger
from web.live import node_stats
from web.live.reader import Reader
from web.services import Services, of

log = get_logger("web.live")


def start(worker: Any) -> None:
    """Start the hub and its reader, and take over SIGTERM."""
    made = of(worker.wsgi)
    hub = made.hub
    if hub is None:
        return
    hub.setup()
    gevent.spawn(Reader(hub).run)

    def terminate(_number: int, _frame: Any) -> None:
        if not made.draining:
            made.draining = True
            gevent.spawn(_drain, worker, made)

    signal.signal(signal.SIGTERM, terminate)
    log.info("ws.started", node=hub.node)


def _drain(worker: Any, made: Services) -> None:
    log.info("web.draining", delay_s=made.settings.drain_s)
    gevent.sleep(made.settings.drain_s)
    if made.hub is not None:
        made.hub.close_all_connections()
    worker.alive = False


def stop(worker: Any) -> None:
    """Take this node's figures away and close the doors."""
    made = of(worker.wsgi) if getattr(worker, "wsgi", None) is not None else None
    if made is None or made.hub is None:
        return
    try:
        node_stats.forget(made.live, made.hub.node)
    except redis.RedisError as error:
        log.warning("ws.stats_not_taken_away", error_type=type(error).__name__)
    made.db.close()
    made.door.close()
    log.info("web.stopped")
