"""The hub: all sockets of this process, written to without blocking, from one loop.

Frames queued in one turn of the loop leave in one write a socket. Commands that need Postgres or Valkey run
beside the loop in bounded number, in order for each connection; a full inbox stops reading that socket. One
timer serves heartbeats, deadlines and goodbyes of all connections.
"""

from __future__ import annotations

import _socket
import random
from collections import Counter, deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

import redis

from tenure.accounts.authenticate import fallen
from tenure.errors import TenureError
from tenure.exporter import hooks
from tenure.kit import clock
from tenure.kit.ids import new_id
from tenure.kit.logging import get_logger
from web.live import commands, frames, messages, node_stats
from web.live.census import Census
from web.live.channels import HISTORY, Channel
from web.live.connection import INBOX, LONGEST_WAIT_S, Connection
from web.live.frames import Close
from web.live.inbound import MAX_MESSAGE

if TYPE_CHECKING:
    from tenure.accounts.principal import Principal
    from web.live.driver import Driver, Timer
    from web.services import Services

log = get_logger("web.live")
AUTH_S: Final = 10.0
PING_EVERY_S: Final = 25.0
PONG_S: Final = 10.0
EXPIRY_NOTICE_S: Final = 60.0
EXPIRY_GRACE_S: Final = 25.0
_GOODBYE_S: Final = 2.0
_WORKERS: Final = 64
_TICK_S: Final = 1.0
_CONFIRM_EVERY_S: Final = 3.0
_LATE_S: Final = 5.0
_SLICE: Final = 500
_DRAIN_S: Final = 5.0
_VIOLATIONS: Final = 3
_VIOLATION_WINDOW_S: Final = 10.0


class Hub:
    """All connections of this process."""

    def __init__(self, services: Services, driver: Driver) -> None:
        """Nothing runs before `setup`."""
        self.services = services
        self.driver = driver
        self.limits = services.settings.limits
        self.auth_s = AUTH_S
        self.node = new_id("web")
        self.stats = node_stats.Stats()
        self.connections: set[Connection] = set()
        self.channels: dict[str, Channel] = {}
        self.by_address: Counter[str] = Counter()
        self.census = Census(services.live, self.node, driver)
        self._dirty: list[Connection] = []
        self._ready: deque[Connection] = deque()
        self._workers = 0
        self._timer: Timer | None = None
        self._ticked = 0.0
        self._stats_at = 0.0
        self._writing_stats = False
        self._confirmed_at = 0.0
        self._confirming = False

    def setup(self) -> None:
        """Start the one timer."""
        self._ticked = clock.monotonic()
        self._timer = self.driver.every(_TICK_S, self._tick)

    # -- connections ------------------------------------------------------------------------------------

    def adopt(
        self,
        sock: _socket.socket,
        *,
        address: str,
        principal: Principal | None,
        refused: tuple[Close, str] | None,
    ) -> None:
        """Own this socket. A refused one gets its close code and nothing else."""
        seated = refused is None and self.census.enter(f"address:{address}", self.limits.ws_open_per_address)
        if refused is None and not seated:
            self.stats.throttled += 1
            refused = (Close.THROTTLED, "too many connections")
        connection = Connection(self, sock, id=new_id("con"), address=address)
        connection.seated = seated
        self.connections.add(connection)
        self.by_address[address] += 1
        connection.start()
        if refused is not None:
            connection.close(*refused)
            return
        connection.send(
            frames.message(
                "hello",
                {
                    "connection": connection.id,
                    "protocol": "tenure.v1",
                    "ping_interval_ms": int(PING_EVERY_S * 1000),
                    "pong_timeout_ms": int(PONG_S * 1000),
                    "max_message": MAX_MESSAGE,
                    "history": HISTORY,
                },
            )
        )
        if principal is not None:
            commands.admit(self, connection, principal)

    def drop(self, connection: Connection) -> None:
        """Forget the connection and close its socket, without waiting for anything."""
        if connection.gone:
            return
        self.connections.discard(connection)
        self.by_address[connection.address] -= 1
        if self.by_address[connection.address] <= 0:
            del self.by_address[connection.address]
        if connection.seated:
            self.census.leave(f"address:{connection.address}")
        if connection.principal is not None:
            self.census.leave(connection.principal.name)
        for name in list(connection.channels):
            self.leave(connection, name)
        connection.release()

    def leave(self, connection: Connection, name: str) -> None:
        """This connection does not listen to this channel any more."""
        connection.channels.discard(name)
        channel = self.channels.get(name)
        if channel is not None:
            channel.leave(connection)
            if channel.is_empty:
                del self.channels[name]

    def revoked(self, subjects: Iterable[str]) -> None:
        """Close the connections of these users, keys or sessions."""
        ended = set(subjects)
        for connection in list(self.connections):
            who = connection.principal
            if who is not None and (who.id in ended or who.session_id in ended):
                connection.close(Close.AUTH, "revoked")

    def slow(self, connection: Connection) -> None:
        """Count a reader that is cut."""
        self.stats.slow_closed += 1
        log.info("ws.slow_closed", connection=connection.id, waiting_bytes=connection.backlog_bytes)

    def report(self, connection: Connection, error: BaseException) -> None:
        """Log a fault of ours."""
        log.error("ws.failed", connection=connection.id, error_type=type(error).__name__, exc_info=error)

    # -- in ---------------------------------------------------------------------------------------------

    def received(self, connection: Connection, text: str) -> None:
        """Take a message from the loop: count it against the limits and leave it to the pool."""
        self.stats.total_messages += 1
        wait = self._over_rate(connection)
        if wait:
            if not self._is_flood(connection):
                fields: messages.Error = {
                    "code": "throttled",
                    "message": "too many messages",
                    "retry_after_ms": int(wait * 1000),
                }
                rid = commands.rid_of(text)
                if rid is not None:
                    fields["rid"] = rid
                connection.send(frames.message("error", fields))
            return
        connection.inbox.append(text)
        if len(connection.inbox) >= INBOX:
            connection.pause_reading()
        if not connection.busy:
            connection.busy = True
            self._ready.append(connection)
            if self._workers < _WORKERS:
                self._workers += 1
                self.driver.spawn(self._work)

    def pinged(self, connection: Connection, payload: bytes) -> None:
        """Answer a protocol ping; they count against the same limit as messages."""
        if not self._over_rate(connection):
            connection.send(frames.pong(payload))
        else:
            self._is_flood(connection)

    def _is_flood(self, connection: Connection) -> bool:
        """Count one over the limit; whether it was one too many and the connection was closed for it."""
        self.stats.throttled += 1
        now = clock.monotonic()
        connection.violations = [t for t in connection.violations if now - t < _VIOLATION_WINDOW_S]
        connection.violations.append(now)
        if len(connection.violations) < _VIOLATIONS:
            return False
        connection.close(Close.THROTTLED, "too many messages")
        return True

    def _over_rate(self, connection: Connection) -> float:
        rate = self.limits.ws_messages_per_s
        if not rate:
            return 0.0
        now = clock.monotonic()
        earned = (now - connection.bucket_at) * rate
        connection.bucket = min(float(max(self.limits.ws_burst, 1)), connection.bucket + earned)
        connection.bucket_at = now
        if connection.bucket >= 1:
            connection.bucket -= 1
            return 0.0
        return (1 - connection.bucket) / rate

    def _work(self) -> None:
        try:
            while self._ready:
                connection = self._ready.popleft()
                self._serve_one(connection)
                if connection.inbox and not connection.gone:
                    self._ready.append(connection)  # one message a turn: nobody holds the pool
                else:
                    connection.busy = False
        finally:
            self._workers -= 1

    def _serve_one(self, connection: Connection) -> None:
        if not connection.inbox or connection.gone or connection.closing_since:
            return
        text = connection.inbox.pop(0)
        if connection.paused and len(connection.inbox) < INBOX // 2:
            connection.resume_reading()
        try:
            commands.handle(self, connection, text)
        except Exception as error:  # noqa: BLE001 - the edge: a fault in one command ends one connection
            self.report(connection, error)
            connection.close(Close.INTERNAL, "internal")

    # -- out --------------------------------------------------------------------------------------------

    def mark_dirty(self, connection: Connection) -> None:
        """Write this connection's frames at the end of this turn of the loop."""
        connection.dirty = True
        if not self._dirty:
            self.driver.soon(self._flush)
        self._dirty.append(connection)

    def _flush(self) -> None:
        waiting, self._dirty = self._dirty, []
        for connection in waiting:
            connection.flush()

    # -- time -------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        now = clock.monotonic()
        late = now - self._ticked > _LATE_S + _TICK_S
        self._ticked = now
        self.ping_connections(now, late=late)
        if now - self._stats_at >= node_stats.EVERY_S and not self._writing_stats:
            self._stats_at, self._writing_stats = now, True
            self.driver.spawn(self._write_stats)
        if now - self._confirmed_at >= _CONFIRM_EVERY_S and not self._confirming:
            self._confirmed_at, self._confirming = now, True
            self.driver.spawn(self._confirm)

    def ping_connections(self, now: float, *, late: bool = False) -> None:
        """Heartbeat, deadlines, expiry and goodbye of all; after a late tick nobody is judged this time."""
        for connection in list(self.connections):
            if late:
                # The machine or this process stood still: nobody else is to blame for the silence.
                connection.pinged = 0.0
                connection.last_rx = now
                connection.backlog_since = now
                connection.auth_deadline = max(connection.auth_deadline, now + _LATE_S)
            else:
                self._judge(connection, now)

    def _judge(self, connection: Connection, now: float) -> None:
        if connection.closing_since:
            patience = LONGEST_WAIT_S if connection.cut_off else _GOODBYE_S
            if now - connection.closing_since > patience:
                self.drop(connection)
        elif connection.principal is None and not connection.busy and now > connection.auth_deadline:
            self.stats.auth_failed += 1
            connection.close(Close.AUTH, "auth_timeout")
        elif connection.backlog and now - connection.backlog_since > LONGEST_WAIT_S:
            connection.cut()
        elif connection.pinged and connection.last_rx >= connection.pinged:
            connection.pinged = 0.0
        elif connection.pinged and now - connection.pinged > PONG_S:
            self.stats.heartbeat_closed += 1
            log.info("ws.heartbeat_closed", connection=connection.id)
            connection.close(Close.DEAD, "heartbeat")
        elif not connection.pinged and now - connection.last_rx >= PING_EVERY_S:
            connection.pinged = now
            connection.send(frames.PING)
        if connection.expires and not connection.closing_since:
            self._expire(connection, now)

    def _expire(self, connection: Connection, now: float) -> None:
        if now > connection.expires + EXPIRY_GRACE_S:
            connection.close(Close.AUTH, "token_expired")
        elif now > connection.expires - EXPIRY_NOTICE_S and not connection.expiry_told:
            connection.expiry_told = True
            left = max(0, int((connection.expires - now) * 1000))
            connection.send(frames.message("auth_expiring", {"expires_in_ms": left}))

    def _confirm(self) -> None:
        """Close whom the record does not know any more: what was told of them may have been lost."""
        try:
            known = {each.principal for each in self.connections if each.principal is not None}
            ended = fallen(self.services.db, known) if known else set()
            for connection in list(self.connections):
                if connection.principal in ended:
                    connection.close(Close.AUTH, "revoked")
        except TenureError as error:
            log.warning("ws.not_confirmed", error_type=type(error).__name__)
        finally:
            self._confirming = False

    def _write_stats(self) -> None:
        try:
            self.census.keep()
            node_stats.write(
                self.services.live,
                self.node,
                self.stats,
                connections=len(self.connections),
                authenticated=sum(1 for c in self.connections if c.principal is not None),
            )
            hooks.keep(self.services.live, self.services.hook_times)
        except redis.RedisError as error:
            log.warning("ws.stats_not_written", error_type=type(error).__name__)
        finally:
            self._writing_stats = False

    # -- the end ----------------------------------------------------------------------------------------

    def close_all_connections(self, code: Close = Close.GOING_AWAY) -> None:
        """Tell everybody when to come back and close; returns when all are gone, after 5 s at the latest."""
        everybody = list(self.connections)
        for start in range(0, len(everybody), _SLICE):
            for connection in everybody[start : start + _SLICE]:
                pause = random.randrange(5000)  # noqa: S311 - spreads the reconnects, guards nothing
                connection.send(frames.message("goodbye", {"reason": "drain", "reconnect_in_ms": pause}))
                connection.close(code, "drain")
            self.driver.sleep(0)
        deadline = clock.monotonic() + _DRAIN_S
        while self.connections and clock.monotonic() < deadline:
            self.driver.sleep(0.02)
        for connection in list(self.connections):
            self.drop(connection)
        if self._timer is not None:
            self._timer.stop()
