"""What the stand-ins that speak HTTP share: a threaded server, faults, and a process to run in.

HTTP/1.1 with kept-alive connections. `stop()` also ends the connections that clients keep, as the death of a
process would.
"""

from __future__ import annotations

import json
import signal
import socket
import struct
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import FrameType, TracebackType
from typing import Any, Final, Self
from urllib.parse import parse_qsl, urlsplit

import click

from tenure.errors import Invalid, TenureError
from tenure.standins.faults import Fault, FaultKind, Faults

_BODY_CAP: Final = 10_000_000
_POLL_S: Final = 0.05


class Cut(Exception):
    """End this connection without an answer."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request. Header names are lower case."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON. Raises Invalid when it is none."""
        try:
            return json.loads(self.body)
        except ValueError:
            raise Invalid("the body is not JSON") from None


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer: `body` as JSON, or `html` as it is; with `drip_s` its bytes come so far apart."""

    status: int
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    html: str | None = None
    drip_s: float = 0.0


class HttpStandIn(ABC):
    """Base of the stand-ins: subclasses say in `answer` what they do with a request."""

    def __init__(self, *, port: int = 0, host: str = "127.0.0.1") -> None:
        """Listens at once; port 0 takes a free one. Serves after `start()`."""
        self.faults = Faults()
        self.stopping = threading.Event()
        self._server = _Server((host, port), self)
        self.port: int = self._server.server_address[1]
        self.url = f"http://{host}:{self.port}"
        self._thread: threading.Thread | None = None

    @abstractmethod
    def answer(self, request: Request) -> Reply:
        """What this request gets. May raise TenureError (its status is the answer) or Cut."""

    def fault_reply(self, fault: Fault) -> Reply:
        """The error answer of a planned status; protocols with their own shape override it."""
        headers = {} if fault.retry_after_s is None else {"Retry-After": str(fault.retry_after_s)}
        return Reply(fault.status, {"error": "planned fault"}, headers)

    def control(self, request: Request) -> Reply | None:
        """The verbs that every stand-in has: POST, GET and DELETE of `/faults`."""
        if request.path != "/faults":
            return None
        if request.method == "POST":
            given = request.json()
            if not isinstance(given, dict):
                raise Invalid("a fault is a JSON object")
            self.faults.plan(Fault.parse(given))
        elif request.method == "DELETE":
            self.faults.clear()
        return Reply(200, self.faults.as_dict())

    def suffer(self, fault: Fault | None, act: Callable[[], Reply]) -> Reply:
        """Do the act as the fault lets it be done. Raises Cut where the connection shall end."""
        if fault is None:
            return act()
        match fault.kind:
            case FaultKind.STATUS:
                return self.fault_reply(fault)
            case FaultKind.DROP:
                raise Cut
            case FaultKind.CUT:
                act()
                raise Cut
            case FaultKind.DELAY:
                self.stopping.wait(fault.delay_s)
                return act()
            case FaultKind.DRIP:
                return replace(act(), drip_s=fault.delay_s)
            case FaultKind.NONSENSE:
                act()
                return Reply(
                    200, html="<!doctype html><title>Welcome</title><p>Please sign in to this network."
                )

    def urls(self) -> dict[str, str]:
        """Every place where it can be reached, by protocol."""
        return {"http": self.url}

    def start(self) -> Self:
        """Serve in a thread of its own."""
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": _POLL_S}, daemon=True
        )
        self._thread.start()
        return self

    def stop(self) -> None:
        """Nothing listens and no connection stands after this."""
        self.stopping.set()
        if self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            self._thread = None
        self._server.server_close()
        self._server.end_connections()

    def __enter__(self) -> Self:
        """Start serving."""
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop serving."""
        self.stop()


def run_until_stopped(standin: HttpStandIn) -> None:
    """The life of a stand-in as a process: print its URLs, serve until SIGTERM or Ctrl-C."""
    asked = threading.Event()

    def ask(_number: int, _frame: FrameType | None) -> None:
        asked.set()

    signal.signal(signal.SIGTERM, ask)
    signal.signal(signal.SIGINT, ask)
    with standin:
        for name, url in standin.urls().items():
            click.echo(f"{name} {url}")
        click.echo(f"READY {standin.url}")
        asked.wait()


class _Server(ThreadingHTTPServer):
    """A thread per connection; knows its connections, to end them."""

    request_queue_size = 256
    daemon_threads = True

    def __init__(self, address: tuple[str, int], owner: HttpStandIn) -> None:
        """Handlers find the stand-in as `server.owner`."""
        self.owner = owner
        self._open: set[socket.socket] = set()
        self._open_lock = threading.Lock()
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._open_lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._open_lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news here; other errors were answered with 500."""

    def end_connections(self) -> None:
        """Wake the threads that wait for a next request: there is none."""
        with self._open_lock:
            connections = list(self._open)
        for connection in connections:
            with suppress(OSError):  # it may just have ended by itself
                connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    """Turns HTTP into Request and Reply."""

    server: _Server
    protocol_version = "HTTP/1.1"
    # Head and body leave in one piece: two small writes would wait for a delayed ACK.
    wbufsize = 65_536
    disable_nagle_algorithm = True

    def log_message(self, *_arguments: Any) -> None:
        """Journals say more than access lines."""

    def _serve(self) -> None:
        try:
            reply = self._reply()
        except Cut:
            self._cut()
            return
        self._send(reply)

    do_GET = do_PUT = do_POST = do_DELETE = do_PATCH = do_HEAD = _serve  # noqa: N815 - http.server's names

    def _reply(self) -> Reply:
        length = self.headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit()) or int(length) > _BODY_CAP:
            self.close_connection = True
            return Reply(413, {"error": "the body's length is missing, malformed or too large"})
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            raise Cut  # the caller died while it sent: that was no request yet
        parts = urlsplit(self.path)
        request = Request(
            method=self.command,
            path=parts.path,
            query=dict(parse_qsl(parts.query)),
            headers={name.lower(): value for name, value in self.headers.items()},
            body=body,
        )
        owner = self.server.owner
        try:
            return owner.control(request) or owner.answer(request)
        except TenureError as error:
            return Reply(error.status, {"error": error.message})

    def _send(self, reply: Reply) -> None:
        body = reply.html.encode() if reply.html is not None else json.dumps(reply.body).encode()
        self.send_response(reply.status)
        kind = "application/json" if reply.html is None else "text/html; charset=utf-8"
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **reply.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if not reply.drip_s:
            self.wfile.write(body)
            return
        for byte in body:
            self.wfile.write(bytes([byte]))
            self.wfile.flush()
            if self.server.owner.stopping.wait(reply.drip_s):
                return

    def _cut(self) -> None:
        # A reset, not a polite end: the client cannot mistake it for an empty answer.
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
