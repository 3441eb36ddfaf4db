"""A WebSocket client that sends exactly the bytes a test wants, right or wrong, and shows every answer."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
PATIENCE_S = 20.0
MASK = b"\x12\x34\xab\xcd"
HANDSHAKE = {
    "Host": "127.0.0.1",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}


def frame(
    payload: bytes | str = b"",
    opcode: int = TEXT,
    *,
    fin: bool = True,
    rsv: int = 0,
    mask: bytes | None = MASK,
    size: int | None = None,
    form: str | None = None,
) -> bytes:
    """One frame. `size` is a length that lies, `form` (`7`, `16`, `64`) a way to write it."""
    body = payload.encode() if isinstance(payload, str) else payload
    length = len(body) if size is None else size
    form = form or ("7" if length < 126 else "16" if length < 65_536 else "64")
    second = 0x80 if mask is not None else 0
    head = bytes([(0x80 if fin else 0) | (rsv << 4) | opcode])
    if form == "7":
        head += bytes([second | length])
    elif form == "16":
        head += bytes([second | 126]) + struct.pack("!H", length)
    else:
        head += bytes([second | 127]) + struct.pack("!Q", length)
    if mask is None:
        return head + body
    return head + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(body))


def fragments(*parts: bytes | str, opcode: int = TEXT) -> list[bytes]:
    """A message in pieces."""
    last = len(parts) - 1
    return [frame(part, opcode if at == 0 else CONTINUATION, fin=at == last) for at, part in enumerate(parts)]


def close_frame(code: int | None = None, reason: bytes = b"") -> bytes:
    """A goodbye; without a code when there is none."""
    return frame(b"" if code is None else struct.pack("!H", code) + reason, CLOSE)


def ping(id: Any, padding: int = 0) -> str:  # noqa: A002 - the protocol's word
    """A message that the server answers before anybody has signed in."""
    return json.dumps({"type": "ping", "id": id}) + " " * padding


@dataclass(frozen=True, slots=True)
class Frame:
    """What the server sent."""

    opcode: int
    payload: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.payload)

    @property
    def code(self) -> int | None:
        """The code of a close frame."""
        return int.from_bytes(self.payload[:2], "big") if self.payload else None


class RawSocket:
    """One TCP connection to `/ws`."""

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = b""

    def ask(
        self, method: str = "GET", *, version: str = "HTTP/1.1", without: Iterable[str] = (), **headers: str
    ) -> tuple[int, dict[str, str]]:
        """Send a handshake with these headers (`_` for `-`); the status and the lower-case headers."""
        given = {**HANDSHAKE, **{name.replace("_", "-"): value for name, value in headers.items()}}
        lines = [f"{name}: {value}" for name, value in given.items() if name not in set(without)]
        self.send("\r\n".join([f"{method} /ws {version}", *lines, "", ""]).encode())
        while b"\r\n\r\n" not in self._buffer:
            if not self._more():
                raise AssertionError(f"no whole answer: {self._buffer!r}")
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        first, *rest = head.decode("latin-1").split("\r\n")
        pairs = (line.split(": ", 1) for line in rest)
        return int(first.split()[1]), {name.lower(): value for name, value in pairs}

    def send(self, data: bytes) -> None:
        """Send these bytes. The server may have ended the connection meanwhile."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.sock.sendall(data)

    def frame(self) -> Frame | None:
        """The server's next frame; None at the end of the stream."""
        while (one := self.buffered()) is None:
            if not self._more():
                return None
        return one

    def buffered(self) -> Frame | None:
        """The next frame, if it has arrived whole already."""
        size = _whole(self._buffer)
        if size is None:
            return None
        made = self._buffer[: size[1]]
        self._buffer = self._buffer[size[1] :]
        if made[0] & 0x70 or made[1] & 0x80:
            raise AssertionError(f"the server sent reserved bits or a mask: {made[:2]!r}")
        return Frame(made[0] & 0x0F, made[size[0] :])

    def until_closed(self) -> list[Frame]:
        """Everything up to and with the close frame, or up to the end of the stream."""
        found = []
        while (one := self.frame()) is not None:
            found.append(one)
            if one.opcode == CLOSE:
                break
        return found

    def is_ended(self) -> bool:
        """Whether nothing but the end of the stream follows."""
        return self.frame() is None

    def close(self) -> None:
        self.sock.close()

    def _more(self) -> bool:
        try:
            data = self.sock.recv(65_536)
        except ConnectionResetError:
            data = b""
        self._buffer += data
        return bool(data)


def _whole(data: bytes) -> tuple[int, int] | None:
    """Size of the head and of the first frame in these bytes, when the frame is whole."""
    if len(data) < 2:
        return None
    length, head = data[1] & 0x7F, 2
    if length == 126:
        length, head = int.from_bytes(data[2:4], "big"), 4
    elif length == 127:
        length, head = int.from_bytes(data[2:10], "big"), 10
    return (head, head + length) if len(data) >= head + length else None


@contextlib.contextmanager
def opened(port: int) -> Iterator[RawSocket]:
    """A connection after its handshake and the server's `hello`."""
    made = RawSocket(port)
    try:
        status, _ = made.ask()
        if status != 101:
            raise AssertionError(f"the handshake was answered with {status}")
        hello = made.frame()
        if hello is None or hello.json["event"] != "hello":
            raise AssertionError(f"no hello: {hello}")
        yield made
    finally:
        made.close()
