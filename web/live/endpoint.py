"""`/ws`: flask-sock does route and handshake; then the socket leaves the server and belongs to the hub."""

from __future__ import annotations

import _socket
import binascii
import os
import socket
import ssl
from dataclasses import dataclass
from typing import Any, Final

from flask import Flask, Request, Response, g, request
from flask_sock import Sock
from wsproto.utilities import RemoteProtocolError

from tenure.accounts.principal import Principal
from tenure.errors import BrokenRule, Unauthenticated, Unavailable
from tenure.kit.logging import get_logger
from web.auth import bearer, principal_of, principal_of_browser
from web.live.frames import Close
from web.live.hub import Hub
from web.origin import client_address, is_allowed_origin
from web.problem import problem
from web.services import Services, services

log = get_logger("web.live")
_TLS: Final = "TLS must end at a proxy before this process: the live layer cannot take over a TLS session"
PATH: Final = "/ws"
SUBPROTOCOL: Final = "tenure.v1"
VERSION: Final = "13"
_KEY_BYTES: Final = 16
_SEND_BUFFER: Final = 131_072


@dataclass(frozen=True, slots=True)
class Admission:
    """What is decided before the upgrade: who it is if that is known, or why the socket is closed at once."""

    address: str
    principal: Principal | None = None
    refused: tuple[Close, str] | None = None


class _NoThread:
    """What simple-websocket wants to start for each connection; the hub reads instead."""

    def __init__(self, *_arguments: Any, **_options: Any) -> None:
        self.name = ""

    def start(self) -> None:
        """Start nothing."""


def install(app: Flask, made: Services) -> None:
    """Add the route."""
    app.config["SOCK_SERVER_OPTIONS"] = {"subprotocols": [SUBPROTOCOL], "thread_class": _NoThread}
    sock = Sock(app)

    def admission() -> Response | None:
        if request.path != PATH:
            return None
        # One encoded frame serves everybody, so nobody gets compression of their own.
        request.environ.pop("HTTP_SEC_WEBSOCKET_EXTENSIONS", None)
        if request.method != "GET" or request.headers.get("Upgrade", "").lower() != "websocket":
            return None  # the route says 405 or 400
        if made.hub is None or made.draining:
            raise Unavailable("WebSockets are not served by this process now")
        if isinstance(request.environ.get("gunicorn.socket"), ssl.SSLSocket):
            log.error("ws.tls_refused", hint=_TLS)
            raise Unavailable(_TLS, code="tls_ends_here")
        refused = _bad_handshake(request)
        if refused is None:
            g.admission = admit(made, made.hub)
        return refused

    def broken_handshake(_error: RemoteProtocolError) -> Response:
        return problem(400, "bad_handshake", "this is no WebSocket handshake")

    app.before_request(admission)
    app.register_error_handler(RemoteProtocolError, broken_handshake)
    sock.route(PATH)(_serve)


def _bad_handshake(given: Request) -> Response | None:
    """The answer to a handshake that RFC 6455 forbids; wsproto refuses what is left."""
    version = given.headers.get("Sec-WebSocket-Version")
    if version is not None and version != VERSION:
        spoken = {"Sec-WebSocket-Version": VERSION, "Upgrade": "websocket", "Connection": "Upgrade"}
        return problem(426, "upgrade_required", f"only version {VERSION} is spoken", headers=spoken)
    try:
        key = binascii.a2b_base64(given.headers.get("Sec-WebSocket-Key", ""), strict_mode=True)
    except binascii.Error:
        key = b""
    if len(key) != _KEY_BYTES or given.environ.get("SERVER_PROTOCOL") != "HTTP/1.1":
        return problem(400, "bad_handshake", "this is no WebSocket handshake")
    return None


def admit(made: Services, hub: Hub) -> Admission:
    """Origin, limits, and a credential that came with the handshake."""
    address = client_address(request, made.settings)
    origin = request.headers.get("Origin")
    if origin is not None and not is_allowed_origin(origin, request, made.settings):
        hub.stats.origin_rejected += 1
        log.warning("ws.origin_rejected", origin=origin[:200], address=address)
        return Admission(address, refused=(Close.FORBIDDEN, "origin"))
    limits = made.settings.limits
    if limits.ws_open_per_address and hub.by_address[address] >= limits.ws_open_per_address:
        hub.stats.throttled += 1
        return Admission(address, refused=(Close.THROTTLED, "too many connections"))
    if made.gate.wait_s("ws-handshake", limits.ws_handshakes_per_min, address) is not None:
        hub.stats.throttled += 1
        return Admission(address, refused=(Close.THROTTLED, "too many handshakes"))
    return _identified(made, hub, address, has_origin=origin is not None)


def _identified(made: Services, hub: Hub, address: str, *, has_origin: bool) -> Admission:
    try:
        if bearer(request) is not None:
            return Admission(address, principal=principal_of(request, made))
        if has_origin:
            return Admission(address, principal=principal_of_browser(request, made))
    except Unauthenticated:
        if bearer(request) is not None:
            hub.stats.auth_failed += 1
            return Admission(address, refused=(Close.AUTH, "auth_failed"))
    return Admission(address)


def _serve(ws: Any) -> None:
    made = services()
    admission: Admission = g.admission
    if made.hub is None:
        raise BrokenRule("a handshake without a hub")
    made.hub.adopt(
        _taken_over(ws.sock),
        address=admission.address,
        principal=admission.principal,
        refused=admission.refused,
    )


def _taken_over(served: Any) -> _socket.socket:
    """The connection as a socket of our own; the server is left with a dead one that closes at once."""
    if isinstance(served, ssl.SSLSocket):
        raise BrokenRule(_TLS)
    descriptor = served.fileno()
    own = _socket.socket(fileno=os.dup(descriptor))
    left, right = socket.socketpair()
    os.dup2(left.fileno(), descriptor)
    left.close()
    right.close()
    own.setblocking(False)  # noqa: FBT003 - the standard library's signature
    own.setsockopt(_socket.SOL_SOCKET, _socket.SO_SNDBUF, _SEND_BUFFER)
    if own.family in (_socket.AF_INET, _socket.AF_INET6):
        own.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
    return own
