"""The figures of this node's hub: a hash in Valkey that dies with the node."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

import redis

from tenure.kit import clock
from tenure.kit.times import rfc3339

EXPIRY_S: Final = 15
EVERY_S: Final = 5.0


@dataclass(slots=True)
class Stats:
    """Counters since the start of this process."""

    total_messages: int = 0
    events_out: int = 0
    slow_closed: int = 0
    heartbeat_closed: int = 0
    origin_rejected: int = 0
    throttled: int = 0
    auth_failed: int = 0
    gaps: int = 0


def write(live: redis.Redis, node: str, stats: Stats, *, connections: int, authenticated: int) -> None:
    """Show the figures for the next 15 s."""
    key = f"tenure:ws:node:{node}"
    figures: dict[Any, Any] = {
        **asdict(stats),
        "connections": connections,
        "authed": authenticated,
        "updated_at": rfc3339(clock.utc_now()) or "",
    }
    with live.pipeline(transaction=False) as pipe:
        pipe.hset(key, mapping=figures)
        pipe.expire(key, EXPIRY_S)
        pipe.execute()


def forget(live: redis.Redis, node: str) -> None:
    """Take the figures away when the node stops in order."""
    live.delete(f"tenure:ws:node:{node}")
