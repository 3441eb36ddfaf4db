"""One socket: what came in, what waits to go out, and who it is.

No greenlet, thread or timer belongs to a connection. All methods run in the hub's turn and never block.
"""

from __future__ import annotations

import _socket
from typing import TYPE_CHECKING, Final

from tenure.kit import clock
from web.live import frames
from web.live.frames import Close
from web.live.inbound import Fault, Goodbye, Inbound, Ping

if TYPE_CHECKING:
    from tenure.accounts.principal import Principal
    from web.live.driver import Watch
    from web.live.hub import Hub

INBOX: Final = 32
_READ: Final = 65_536
# A reader that lets this much wait, or lets anything wait this long, is cut: it reconnects and resumes.
MOST_BYTES: Final = 262_144
MOST_FRAMES: Final = 512
LONGEST_WAIT_S: Final = 10.0


class Connection:
    """A WebSocket after its handshake."""

    __slots__ = (
        "address", "auth_deadline", "backlog", "backlog_bytes", "backlog_since", "bucket", "bucket_at",
        "busy", "channels", "closing_since", "cut_off", "dirty", "expires", "expiry_told", "gone",
        "half_sent", "hub", "hung_up", "id", "inbound", "inbox", "last_rx", "newest", "outbox",
        "outbox_bytes", "paused", "pinged", "principal", "reader", "seated", "sock", "strikes",
        "violations", "writer",
    )  # fmt: skip

    def __init__(self, hub: Hub, sock: _socket.socket, *, id: str, address: str) -> None:  # noqa: A002
        """Own the socket from now on; reading begins with `start`."""
        self.hub = hub
        self.sock = sock
        self.id = id
        self.address = address
        self.principal: Principal | None = None
        self.seated = False  # whether its address's count includes it
        self.channels: set[str] = set()
        self.inbound = Inbound()
        self.inbox: list[str] = []  # at most 32: a list costs a tenth of a deque
        self.busy = False
        self.paused = False
        self.outbox: list[bytes] = []
        self.outbox_bytes = 0
        self.backlog: list[bytes] = []
        self.backlog_bytes = 0
        self.backlog_since = 0.0
        self.newest: dict[str, bytes] | None = None  # of what is true only now, while others wait
        self.half_sent = False
        self.cut_off = False
        self.dirty = False
        self.gone = False
        self.closing_since = 0.0
        self.hung_up = False
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
        self.reader: Watch | None = None
        self.writer: Watch | None = None

    def start(self) -> None:
        """Begin to read."""
        self.reader = self.hub.driver.readable(self.sock.fileno())
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
        if self.closing_since:
            return  # our goodbye was the last word: what still comes is thrown away until the peer hangs up
        try:
            self._feed(data)
        except Exception as error:  # noqa: BLE001 - the edge of the loop: one socket's fault must not reach the others
            self.hub.report(self, error)
            self.close(Close.INTERNAL, "internal")

    def _feed(self, data: bytes) -> None:
        for one in self.inbound.feed(data):
            if isinstance(one, str):
                self.hub.received(self, one)
            elif isinstance(one, Ping):
                self.hub.pinged(self, one.payload)
            elif isinstance(one, Goodbye):
                self.close(one.code)
            elif isinstance(one, Fault):
                self.close(one.code, one.reason)
            if self.closing_since or self.gone:
                return

    def pause_reading(self) -> None:
        """Let TCP hold the peer back until `resume_reading`."""
        if not self.paused and self.reader is not None:
            self.paused = True
            self.reader.stop()

    def resume_reading(self) -> None:
        """Read again."""
        if self.paused and self.reader is not None:
            self.paused = False
            self.reader.start(self.on_readable)

    # -- out --------------------------------------------------------------------------------------------

    @property
    def waiting_bytes(self) -> int:
        """What the kernel has not taken yet."""
        return self.backlog_bytes + self.outbox_bytes

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

    def send_newest(self, subject: str, frame: bytes) -> None:
        """Queue what is true of this subject only now: behind what waits there is one frame a subject."""
        if not self.backlog:
            self.send(frame)
        elif not self.gone and not self.closing_since:
            self.newest = self.newest or {}
            self.newest.pop(subject, None)
            self.newest[subject] = frame

    def close(self, code: int, reason: str = "") -> None:
        """Say goodbye: what is queued leaves, then the close frame, then our end of the stream.

        The peer has two seconds to end its own, so that nothing of ours is lost to a reset.
        """
        if self.gone or self.closing_since:
            return
        self.send(frames.close(code, reason))
        self.closing_since = clock.monotonic()
        self.inbox.clear()
        self.resume_reading()

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
        self.resume_reading()
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
            if self.closing_since and not self.hung_up:
                self._hang_up()
            elif self.newest:
                self._send_newest()
        else:
            self._keep(waiting, sent, len(data))

    def _send_newest(self) -> None:
        waited, self.newest = self.newest or {}, None
        for frame in waited.values():
            self.send(frame)

    def _hang_up(self) -> None:
        """The close frame has left: nothing of ours follows."""
        self.hung_up = True
        try:
            self.sock.shutdown(_socket.SHUT_WR)
        except OSError:
            self.hub.drop(self)

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
            self.writer = self.hub.driver.writable(self.sock.fileno())
        if not self.writer.active:
            self.writer.start(self._on_writable)

    def _on_writable(self) -> None:
        if self.writer is not None:
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
        self.newest = None
        self.backlog = []
        self.sock.close()
