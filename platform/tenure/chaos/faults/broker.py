"""Faults of Valkey: its memory gone, its clients thrown out, its answers held back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import redis

from tenure.chaos.field import Field
from tenure.chaos.plan import Step
from tenure.kit import clock

_ANSWER_S: Final = 30.0
_HELD_S: Final = 0.5


def empty(field: Field, step: Step) -> None:
    """FLUSHALL, as after the loss of its file; proved by a key of ours that is gone."""
    target = step.targets[0]
    with _connected(field, target) as server:
        server.set("tenure:chaos:mark", "1")
        before = server.dbsize()
        server.flushall()
        gone = server.get("tenure:chaos:mark") is None
        field.record("empty", target, happened=gone and before > 0, keys_before=before, mark_gone=gone)


def throw_out(field: Field, step: Step) -> None:
    """CLIENT KILL of everybody; proved by the server's count."""
    target = step.targets[0]
    with _connected(field, target) as server:
        killed = sum(
            int(server.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes"))
            for kind in ("normal", "pubsub")
        )
    field.record("throw_out", target, happened=killed > 0, connections=killed)


def hold_back(field: Field, step: Step) -> None:
    """CLIENT PAUSE of all commands for a while; proved by a PING that took that long."""
    target = step.targets[0]
    with _connected(field, target) as server:
        server.execute_command("CLIENT", "PAUSE", str(int(step.for_s * 1000)), "ALL")
        began = clock.monotonic()
        server.ping()
        took = round(clock.monotonic() - began, 2)
    field.record("hold_back", target, happened=took > step.for_s * _HELD_S, for_s=step.for_s, ping_s=took)


@contextmanager
def _connected(field: Field, target: str) -> Iterator[Any]:
    """A client of our own at `valkey` (the broker) or `valkey-live`, once it answers."""
    url = field.stack.live_url if target == "valkey-live" else field.stack.broker_url
    server = redis.Redis.from_url(url, socket_timeout=_ANSWER_S, socket_connect_timeout=5, retry=None)
    try:
        field.until(lambda: _answers(server))
        yield server
    finally:
        server.close()


def _answers(server: redis.Redis) -> bool:
    try:
        return bool(server.ping())
    except redis.RedisError:
        return False
