"""Connections to Valkey or Redis with bounds: redis-py's own defaults turn 5 s into a minute.

Ten silent retries (the library's default) also repeat writes whose answer was lost, so retries are off and
every caller decides for itself.
"""

from __future__ import annotations

from typing import Final

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

_OPERATION_S: Final = 5.0
_PROBE_S: Final = 3.0


def no_retry() -> Retry:
    """What makes a client of the library fail at its first failure."""
    return Retry(NoBackoff(), 0)


def connect(url: str, *, timeout_s: float = _OPERATION_S) -> redis.Redis:
    """A client that fails within `timeout_s` instead of trying again on its own."""
    client: redis.Redis = redis.Redis.from_url(
        url,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        socket_keepalive=True,
        health_check_interval=10,
        retry=no_retry(),
        decode_responses=True,
    )
    return client


def answers(url: str) -> bool:
    """Whether the server takes a new connection, the login and a PING now."""
    client = connect(url, timeout_s=_PROBE_S)
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False
    finally:
        client.close()
