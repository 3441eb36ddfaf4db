"""A lean load client: one epoll loop that opens WebSockets and counts the text frames that arrive.

It looks at frame headers only. Frames of one connection arrive in the order of their publication, so the
n-th event frame's delay is known from the n-th publication's moment, and no payload is parsed.
"""

from __future__ import annotations

import base64
import json
import os
import select
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field

_TEXT = 0x81
_CLOSE = 0x88
_PING = 0x89
_PONG = bytes([0x8A, 0x80, 0, 0, 0, 0])
_MEDIUM, _LONG = 126, 127
_SHORTEST_HEAD = 2


@dataclass(slots=True)
class Conn:
    """One connection: what is left of an unfinished frame, and how many events it has seen."""

    sock: socket.socket
    rest: bytes = b""
    events: int = 0
    closed: bool = False


@dataclass(slots=True)
class Client:
    """All connections of a run."""

    address: tuple[str, int]
    path: str = "/ws"
    conns: dict[int, Conn] = field(default_factory=dict)
    published: list[float] = field(default_factory=list)
    delays: list[float] = field(default_factory=list)
    # Where the publisher is another process: (which event of its connection, when it came).
    seen: list[tuple[int, float]] = field(default_factory=list)
    received: int = 0
    # What marks a text frame as an event to be counted; None counts every one.
    mark: bytes | None = None
    _epoll: select.epoll = field(default_factory=select.epoll)

    def connect(self, number: int, hello: Callable[[socket.socket], None]) -> None:
        """Open `number` sockets one after the other; `hello` says on each what the server wants to hear."""
        for _ in range(number):
            sock = socket.create_connection(self.address, timeout=30)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            handshake(sock, self.path)
            hello(sock)
            sock.settimeout(0)
            self.conns[sock.fileno()] = Conn(sock)
            self._epoll.register(sock.fileno(), select.EPOLLIN)

    def stall(self) -> None:
        """Stop reading the first connection."""
        self._epoll.unregister(next(iter(self.conns)))

    def turn(self, wait_s: float) -> None:
        """Take in what has arrived, waiting at most so long for the first of it."""
        for descriptor, _ in self._epoll.poll(max(0.0, wait_s), 512):
            self._read(self.conns[descriptor])

    def settle(self, quiet_s: float = 0.5, within_s: float = 10.0) -> None:
        """Read until nothing has come for a while; what came so far does not count."""
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline and self._epoll.poll(quiet_s):
            self.turn(0)
        self.forget()

    def forget(self) -> None:
        """Begin counting anew."""
        self.published.clear()
        self.delays.clear()
        self.seen.clear()
        self.received = 0
        for conn in self.conns.values():
            conn.events = 0

    def close(self) -> None:
        """End every connection."""
        for conn in self.conns.values():
            conn.sock.close()
        self.conns.clear()
        self._epoll.close()

    def _read(self, conn: Conn) -> None:
        try:
            got = conn.sock.recv(262_144)
        except BlockingIOError:
            return
        except OSError:
            got = b""
        if not got:
            conn.closed = True
            self._epoll.unregister(conn.sock.fileno())
            return
        now = time.perf_counter()
        data = conn.rest + got if conn.rest else got
        at, size = 0, len(data)
        while size - at >= _SHORTEST_HEAD:
            head, length = _head(data, at)
            end = at + head + length
            if end > size:
                break
            if data[at] == _TEXT and (self.mark is None or self.mark in data[at:end]):
                if conn.events < len(self.published):
                    self.delays.append(now - self.published[conn.events])
                else:
                    self.seen.append((conn.events, now))
                conn.events += 1
                self.received += 1
            elif data[at] == _PING:
                conn.sock.send(_PONG)
            at = end
        conn.rest = data[at:]


def _head(data: bytes, at: int) -> tuple[int, int]:
    """The sizes of the frame's head and payload (RFC 6455, section 5.2); a head cut short counts as long."""
    length = data[at + 1]
    if length == _MEDIUM:
        return 4, int.from_bytes(data[at + 2 : at + 4], "big")
    if length == _LONG:
        return 10, int.from_bytes(data[at + 2 : at + 10], "big")
    return 2, length


def handshake(sock: socket.socket, path: str) -> None:
    """Upgrade the connection. Raises ConnectionError when the server does not."""
    key = base64.b64encode(os.urandom(16)).decode()
    sock.sendall(
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):  # byte by byte: what follows belongs to the frames
        got = sock.recv(1)
        if not got:
            break
        answer += got
    if b" 101 " not in answer.split(b"\r\n", 1)[0]:
        raise ConnectionError(answer[:200].decode("latin-1"))


def send_text(sock: socket.socket, text: str) -> None:
    """One masked text frame."""
    payload = text.encode()
    mask = os.urandom(4)
    length = len(payload)
    head = bytes([_TEXT, 0x80 | length]) if length < _MEDIUM else (
        bytes([_TEXT, 0x80 | _MEDIUM]) + length.to_bytes(2, "big")
    )  # fmt: skip
    sock.sendall(head + mask + bytes(byte ^ mask[n % 4] for n, byte in enumerate(payload)))


def read_frame(sock: socket.socket) -> tuple[int, bytes]:
    """One frame from a blocking socket: its first byte and its payload."""
    first, length = _exactly(sock, 2)
    if length == _MEDIUM:
        length = int.from_bytes(_exactly(sock, 2), "big")
    elif length == _LONG:
        length = int.from_bytes(_exactly(sock, 8), "big")
    return first, _exactly(sock, length)


def read_until(sock: socket.socket, event: str) -> dict[str, object]:
    """Frames until the message of this name; ConnectionError when the server closes first."""
    while True:
        first, payload = read_frame(sock)
        if first == _CLOSE:
            raise ConnectionError(f"closed: {payload!r}")
        if first == _TEXT:
            message: dict[str, object] = json.loads(payload)
            if message.get("event") == event:
                return message


def _exactly(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        got = sock.recv(size - len(data))
        if not got:
            raise ConnectionError("the server hung up")
        data += got
    return data
