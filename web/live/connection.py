"""One socket: what came in, what waits to go out, and who it is.

No greenlet, thread or timer belongs to a connection. All methods run in the loop or in a greenlet of the
same process and never block.
"""

from __future__ import annotations

import _socket
from typing import TYPE_CHECKING, Any, Final

from wsproto.connection import Connection as Parser
from wsproto.connection import ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, TextMessage

from tenure.kit import clock
from web.live import frames
from web.live.frames import Close

if TYPE_CHECKING:
    from tenure.accounts.principal import Principal
    from web.live.hub import Hub

MAX_MESSAGE: Final = 65_536
INBOX: Final = 32
_READ: Final = 65_536
# A reader that lets this much wait, or lets anything wait this long, is cut: it reconnects and resumes.
MOST_BYTES: Final = 262_144
MOST_FRAMES: Final = 512
LONGEST_WAIT_S: Final = 10.0
_CODES_OF_PEER: Final = range(1000, 5000)


class Connection:
    """A WebSocket after its handshake."""

    __slots__ = (
        "address", "auth_deadline", "backlog", "backlog_bytes", "backlog_since", "bucket", "bucket_at",
        "busy", "channels", "closing_since", "cut_off", "dirty", "expires", "expiry_told", "gone",
        "half_sent", "hub", "id", "inbox", "last_rx", "outbox", "outbox_bytes", "parser", "partial",
        "partial_bytes", "paused", "pinged", "principal", "reader", "sock", "strikes", "violations",
        "writer",
    )  # fmt: skip

    def __init__(self, hub: Hub, sock: _socket.socket, *, id: str, address: str) -> None:  # noqa: A002
        """Own the socket from now on; reading begins with `start`."""
        self.hub = hub
        self.sock = sock
        self.id = id
        self.address = address
        self.principal: Principal | None = None
        self.channels: set[str] = set()
        self.parser: Any = Parser(ConnectionType.SERVER)
        self.partial: list[str] = []
        self.partial_bytes = 0
        self.inbox: list[str] = []  # at most 32: a list costs a tenth of a deque
        self.busy = False
        self.paused = False
        self.outbox: list[bytes] = []
        self.outbox_bytes = 0
        self.backlog: list[bytes] = []
        self.backlog_bytes = 0
        self.backlog_since = 0.0
        self.half_sent = False
        self.cut_off = False
        self.dirty = False
        self.gone = False
        self.closing_since = 0.0
        now = clock.monotonic()
        self.last_rx = now
        self.pinged = 0.0
        self.auth_deadline = now + hub.auth_s
        self.expires = 0.0
        self.expiry_told = False
        self.strikes = 0
        self.violations: list[float] = []
        self.bucket = float(hub.limits.ws_burst)
        self.bucket_at = now
        self.reader: Any = None
        self.writer: Any = None

    def start(self) -> None:
        """Begin to read."""
        self.reader = self.hub.loop.io(self.sock.fileno(), 1)
        self.reader.start(self.on_readable)

    # -- in ---------------------------------------------------------------------------------------------

    def on_readable(self) -> None:
        """Take what the socket has. Whatever goes wrong here ends this connection only."""
        try:
            data = self.sock.recv(_READ)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.hub.drop(self)
            return
        self.last_rx = clock.monotonic()
        try:
            self._feed(data)
        except Exception as error:  # noqa: BLE001 - the edge of the loop: one socket's fault must not reach the others
            self.hub.report(self, error)
            self.close(Close.INTERNAL, "internal")

    def _feed(self, data: bytes) -> None:
        self.parser.receive_data(data)
        for event in self.parser.events():
            if self.closing_since and not isinstance(event, CloseConnection):
                continue  # we said goodbye: only the peer's close matters
            if isinstance(event, TextMessage):
                self._text(event)
            elif isinstance(event, Ping):
                self.send(frames.pong(bytes(event.payload)))
            elif isinstance(event, BytesMessage):
                self.close(Close.BINARY, "text frames only")
            elif isinstance(event, CloseConnection):
                self._peer_closed(event)
                return

    def _text(self, event: TextMessage) -> None:
        part = event.data
        self.partial_bytes += len(part) if part.isascii() else len(part.encode())
        if self.partial_bytes > MAX_MESSAGE:
            self.close(Close.TOO_LARGE, "message over 64 KiB")
            return
        self.partial.append(part)
        if not event.message_finished:
            return
        whole = self.partial[0] if len(self.partial) == 1 else "".join(self.partial)
        self.partial.clear()
        self.partial_bytes = 0
        self.hub.received(self, whole)

    def _peer_closed(self, event: CloseConnection) -> None:
        if self.closing_since:
            self.hub.drop(self)
            return
        failed = self.parser.state.name == "OPEN"  # the parser gave up: not the peer's wish
        code = int(event.code)
        known = code if code in _CODES_OF_PEER else Close.NO_CODE
        self.close(known, (event.reason or "") if failed else "")
        if not failed:
            self.hub.flush_one(self)
            self.hub.drop(self)

    def pause_reading(self) -> None:
        """Let TCP hold the peer back until `resume_reading`."""
        if not self.paused and self.reader is not None:
            self.paused = True
            self.reader.stop()

    def resume_reading(self) -> None:
        """Read again."""
        if self.paused and not self.gone:
            self.paused = False
            self.reader.start(self.on_readable)

    # -- out --------------------------------------------------------------------------------------------

    def send(self, frame: bytes) -> None:
        """Queue a frame. Everything queued in the same turn of the loop leaves in one write."""
        if self.gone or self.closing_since:
            return
        self.outbox.append(frame)
        self.outbox_bytes += len(frame)
        if self.backlog and (
            self.backlog_bytes + self.outbox_bytes > MOST_BYTES or len(self.outbox) > MOST_FRAMES
        ):
            self.cut()
        elif not self.dirty:
            self.hub.mark_dirty(self)

    def close(self, code: int, reason: str = "") -> None:
        """Say goodbye: what is queued leaves, then the close frame; the peer has two seconds to answer."""
        if self.gone or self.closing_since:
            return
        self.send(frames.close(code, reason))
        self.closing_since = clock.monotonic()
        self.inbox.clear()

    def cut(self) -> None:
        """End a reader that is too slow: the frame that is half sent is finished, then 4008, nothing else."""
        if self.gone or self.closing_since:
            return
        self.hub.slow(self)
        self.closing_since = clock.monotonic()
        self.cut_off = True
        self.inbox.clear()
        self.outbox.clear()
        self.outbox_bytes = 0
        half = self.backlog[:1] if self.half_sent else []
        self.backlog = [*half, frames.close(Close.DEAD, "slow")]
        self.backlog_bytes = sum(map(len, self.backlog))
        self._wait_writable()

    def flush(self) -> None:
        """Write what waits, as far as the kernel takes it."""
        self.dirty = False
        if self.gone or not (self.outbox or self.backlog):
            return
        if self.backlog and self.writer is not None and self.writer.active:
            return
        waiting = [*self.backlog, *self.outbox] if self.backlog else self.outbox
        data = waiting[0] if len(waiting) == 1 else b"".join(waiting)
        try:
            sent = self.sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.hub.drop(self)
            return
        self.outbox = []
        self.outbox_bytes = 0
        if sent == len(data):
            self.backlog = []
            self.backlog_bytes = 0
            self.half_sent = False
        else:
            self._keep(waiting, sent, len(data))

    def _keep(self, waiting: list[bytes], sent: int, total: int) -> None:
        if sent or not self.backlog:
            self.backlog_since = clock.monotonic()
        whole = 0
        rest = sent
        while rest >= len(waiting[whole]):
            rest -= len(waiting[whole])
            whole += 1
        self.half_sent = rest > 0 or (whole == 0 and self.half_sent)
        self.backlog = [waiting[whole][rest:], *waiting[whole + 1 :]]
        self.backlog_bytes = total - sent
        if self.backlog_bytes > MOST_BYTES:
            self.cut()
        else:
            self._wait_writable()

    def _wait_writable(self) -> None:
        if self.writer is None:
            self.writer = self.hub.loop.io(self.sock.fileno(), 2)
        if not self.writer.active:
            self.writer.start(self._on_writable)

    def _on_writable(self) -> None:
        self.writer.stop()
        self.flush()

    def release(self) -> None:
        """Give the socket back to the kernel. The hub calls this once."""
        self.gone = True
        for watcher in (self.reader, self.writer):
            if watcher is not None:
                watcher.stop()
                watcher.close()
        self.reader = self.writer = None
        self.outbox.clear()
        self.inbox.clear()
        self.backlog = []
        self.sock.close()
