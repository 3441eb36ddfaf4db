"""A TCP server that does with each connection exactly what a test says, byte by byte."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

Behaviour = Callable[[socket.socket], None]


@dataclass
class RawServer:
    """What the server saw: one entry in `requests` per request head that `read_request` read."""

    port: int
    connections: int = 0
    requests: list[bytes] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def read_request(self, connection: socket.socket) -> bytes:
        """One request's head and body (by Content-Length); b"" when the client closed."""
        data = b""
        while b"\r\n\r\n" not in data:
            piece = connection.recv(65536)
            if not piece:
                return b""
            data += piece
        head, _, body = data.partition(b"\r\n\r\n")
        length = next(
            (
                int(line.split(b":")[1])
                for line in head.split(b"\r\n")
                if line.lower().startswith(b"content-length")
            ),
            0,
        )
        while len(body) < length:
            body += connection.recv(65536)
        self.requests.append(head + b"\r\n\r\n" + body)
        return self.requests[-1]


@contextlib.contextmanager
def raw_server(
    behaviour: Callable[[RawServer, socket.socket], None], *, tls: ssl.SSLContext | None = None
) -> Iterator[RawServer]:
    """Each connection is given to the behaviour in a thread of its own, and closed after it."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = RawServer(port=listener.getsockname()[1])
    threads: list[threading.Thread] = []
    accepted: list[socket.socket] = []

    def handle(connection: socket.socket) -> None:
        # Clients of these tests give up on purpose: a broken pipe here is their right.
        with contextlib.suppress(OSError), connection:
            wrapped = tls.wrap_socket(connection, server_side=True) if tls else connection
            accepted.append(wrapped)
            with wrapped:
                behaviour(server, wrapped)

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            server.connections += 1
            thread = threading.Thread(target=handle, args=(connection,), daemon=True)
            thread.start()
            threads.append(thread)

    acceptor = threading.Thread(target=accept, daemon=True)
    acceptor.start()
    try:
        yield server
    finally:
        server.closing.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        acceptor.join(5)
        for connection in accepted:  # kept-alive ones wait for a next request that will not come
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join(5)
