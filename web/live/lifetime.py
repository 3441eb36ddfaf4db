"""The hub's life inside a gunicorn worker: it starts with the worker, and SIGTERM ends it in order.

`/readyz` says 503 while everything is still served, then all sockets get 1001, then the worker ends.
"""

from __future__ import annotations

import math
import signal
from typing import Any, Final

import gevent
import redis
from gevent import monkey

from tenure.errors import BadSettings, Unavailable
from tenure.kit.db import check_reachable
from tenure.kit.logging import get_logger
from tenure.kit.watchdog import Threads, Watchdog
from web.live import node_stats
from web.live.reader import Reader
from web.services import Services, of

log = get_logger("web.live")
_TURN_S: Final = 1.0
_BEFORE_GUNICORN_S: Final = 10.0
_BOOT_ERROR: Final = 3  # gunicorn ends with it instead of starting workers again and again


def start(worker: Any) -> None:
    """Start the hub and its reader, and take over SIGTERM."""
    made = of(worker.wsgi)
    hub = made.hub
    if hub is None:
        return
    if worker.age == 1:
        _insist(made.settings.require_database_url())
    hub.setup()
    hub.driver.spawn(Reader(hub).run)
    patience_s = worker.cfg.timeout or math.inf  # 0: gunicorn waits forever
    watchdog, timer = watch(made, limit_s=max(_TURN_S * 3, patience_s - _BEFORE_GUNICORN_S))

    def terminate(_number: int, _frame: Any) -> None:
        if not made.draining:
            made.draining = True
            watchdog.stop()
            timer.stop()
            gevent.spawn(_drain, worker, made)

    signal.signal(signal.SIGTERM, terminate)
    log.info("ws.started", node=hub.node)


def _insist(database_url: str) -> None:
    """End the role, with a sentence, when it could not serve at its start; a later worker of it waits."""
    try:
        check_reachable(database_url)
    except (Unavailable, BadSettings) as error:
        log.error("web.refused", reason=error.message)  # noqa: TRY400 - a sentence is enough
        raise SystemExit(_BOOT_ERROR) from None


def watch(made: Services, *, limit_s: float) -> tuple[Watchdog, Any]:
    """Watch the turns of this process's loop from a real thread; the watchdog and the timer that stamps.

    gunicorn starts another worker when this one has ended itself. Its own limit would end this process
    without a word of where it hung, so ours (`limit_s` at most) comes before it.
    """
    watchdog = Watchdog(
        role="web",
        limit_s=min(made.settings.watchdog_s, limit_s),
        grace_s=made.settings.watchdog_grace_s,
        threads=Threads(
            start=lambda target: monkey.get_original("_thread", "start_new_thread")(target, ()),
            pause=monkey.get_original("time", "sleep"),
            lock=monkey.get_original("_thread", "allocate_lock"),
        ),
    )
    timer = gevent.get_hub().loop.timer(_TURN_S, _TURN_S)
    timer.start(watchdog.sign("loop").stamp)
    watchdog.start()
    return watchdog, timer


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
        made.hub.census.forget()
    except redis.RedisError as error:
        log.warning("ws.stats_not_taken_away", error_type=type(error).__name__)
    made.db.close()
    made.door.close()
    log.info("web.stopped")
