"""The guards of one process: what stands between a job and each integration.

What an operator forced (PostgreSQL, read every two seconds) wins; otherwise the shared breaker decides. When
Valkey is away calls go on unguarded: a guard is not worth an outage of its own. They are counted, and the
count is written down when Valkey is back.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import redis

from tenure.errors import TenureError
from tenure.integrations.force_breaker import Override, overrides
from tenure.kit import clock
from tenure.kit.breaker import Breakers, Held, Told
from tenure.kit.db import Database, in_transaction
from tenure.kit.guarded_door import GuardedDoor
from tenure.kit.http import HttpDoor
from tenure.kit.logging import get_logger
from tenure.kit.retry import is_repeat
from tenure.kit.valkey import connect

_log = get_logger("tenure.breaker")
_VALKEY_S: Final = 0.5
# A Valkey that did not answer is left alone for this long: calls must not wait for it one by one.
_LEAVE_ALONE_S: Final = 2.0
_READ_EVERY_S: Final = 2.0


class Guards:
    """All guards of a process. Safe to share between threads; build it in the process that uses it."""

    def __init__(self, live_url: str, db: Database) -> None:
        """Connects nowhere yet."""
        self.live = connect(live_url, timeout_s=_VALKEY_S)
        self.breakers = Breakers(self.live)
        self._db = db
        self._lock = threading.Lock()
        self._reading = threading.Lock()
        self._forced: Mapping[str, Override] = {}
        self._forced_at: float | None = None
        self._away_until = 0.0
        self._unguarded: Counter[str] = Counter()

    def door(self, door: HttpDoor, name: str, *, part_of: str | None = None) -> GuardedDoor:
        """The door for calls to this integration, or to this node that is `part_of` one."""
        return GuardedDoor(door, self.guard(name, part_of=part_of))

    def guard(self, name: str, *, part_of: str | None = None) -> IntegrationGuard:
        """The guard of this breaker; what is forced of `part_of` holds for it too."""
        return IntegrationGuard(self, name, part_of or name)

    def enter(self, name: str, integration: str) -> CallPass:
        """Leave for one call. Raises Held."""
        forced = self._override(integration)
        retry = is_repeat()
        if forced is not None and forced.state == "open":
            raise Held("forced_open", integration, forced.left_s)
        if forced is not None or not self._can_ask():
            if forced is None:
                self._count_unguarded(name)
            return CallPass(self, name, retry=retry, ticket="")
        try:
            leave = self.breakers.ask(name, retry=retry)
            self._write_unguarded()
        except redis.RedisError as error:
            self._lost(error)
            self._count_unguarded(name)
            return CallPass(self, name, retry=retry, ticket="")
        if not leave.go:
            raise Held(leave.reason, integration, leave.wait_s)
        return CallPass(self, name, retry=retry, ticket=leave.ticket)

    def tell(self, name: str, told: Told, *, retry: bool, ticket: str) -> None:
        """Count how a call ended."""
        if not self._can_ask():
            return
        try:
            word = self.breakers.tell(name, told, retry=retry, ticket=ticket)
        except redis.RedisError as error:
            self._lost(error)
            return
        if word in {"opened", "closed"}:
            _log.warning(f"breaker.{word}", integration=name)

    def _override(self, integration: str) -> Override | None:
        now = clock.monotonic()
        stale = self._forced_at is None or now - self._forced_at > _READ_EVERY_S
        # One thread reads; the others go by what was read before.
        if stale and not in_transaction() and self._reading.acquire(blocking=self._forced_at is None):
            try:
                with self._db.transaction() as session:
                    self._forced = overrides(session)
            except TenureError as error:
                _log.warning("breaker.overrides_not_read", error_type=type(error).__name__)
            finally:
                self._forced_at = now
                self._reading.release()
        return self._forced.get(integration)

    def _can_ask(self) -> bool:
        return clock.monotonic() >= self._away_until

    def _lost(self, error: redis.RedisError) -> None:
        self._away_until = clock.monotonic() + _LEAVE_ALONE_S
        _log.warning("breaker.unguarded", error_type=type(error).__name__)

    def _count_unguarded(self, name: str) -> None:
        with self._lock:
            self._unguarded[name] += 1

    def _write_unguarded(self) -> None:
        if not self._unguarded:
            return
        with self._lock:
            waiting, self._unguarded = self._unguarded, Counter()
        for name, calls in waiting.items():
            self.breakers.count_unguarded(name, calls)


@dataclass(frozen=True, slots=True)
class IntegrationGuard:
    """Stands before one breaker."""

    guards: Guards
    name: str
    integration: str

    def enter(self) -> CallPass:
        """Leave for one call. Raises Held."""
        return self.guards.enter(self.name, self.integration)


@dataclass(frozen=True, slots=True)
class CallPass:
    """Leave for one call, which is to be told of."""

    guards: Guards
    name: str
    retry: bool
    ticket: str

    def tell(self, told: Told) -> None:
        """How the call ended."""
        self.guards.tell(self.name, told, retry=self.retry, ticket=self.ticket)
