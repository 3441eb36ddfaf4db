"""One WebSocket connection: JSON in, JSON out, and how it ended. The only place that knows the library."""

from __future__ import annotations

import contextlib
import json
import socket
from dataclasses import dataclass
from typing import Any, Final, cast

import websocket

from tenure.kit.clock import utc_now
from tenure.kit.retry import retry_after_s

SUBPROTOCOL: Final = "tenure.v1"
ABNORMAL: Final = 1006
PROTOCOL: Final = 1002
_CONNECT_S: Final = 10.0
_CODE_BYTES: Final = 2


@dataclass(frozen=True, slots=True)
class Place:
    """Where the server is: `http(s)://host[:port]`, and the certificates to trust if not the system's."""

    url: str
    ca_file: str | None = None

    @property
    def socket_url(self) -> str:
        """The address of its WebSocket."""
        return "ws" + self.url.removeprefix("http") + "/ws"


class Closed(Exception):
    """The connection has ended, or never began (then `status` is the HTTP answer, if there was one)."""

    def __init__(
        self, code: int, reason: str = "", *, status: int | None = None, retry_after: float | None = None
    ) -> None:
        """1006 stands for an end without a goodbye."""
        self.code = code
        self.reason = reason
        self.status = status
        self.retry_after_s = retry_after
        super().__init__(f"{code} {reason}")


class Silent(Exception):
    """Nothing came for as long as was asked."""


class Wire:
    """A connection that stands. One thread receives; any may send."""

    def __init__(self, place: Place) -> None:
        """Connect. Raises Closed."""
        options = {"ca_certs": place.ca_file} if place.ca_file is not None else None
        self._socket = cast(Any, websocket.WebSocket(sslopt=options, skip_utf8_validation=True))
        self._socket.settimeout(_CONNECT_S)
        try:
            self._socket.connect(
                place.socket_url,
                subprotocols=[SUBPROTOCOL],
                suppress_origin=True,
                http_no_proxy=["*"],
                redirect_limit=0,
            )
        except websocket.WebSocketBadStatusException as error:
            self._release()
            headers = {name.lower(): value for name, value in (error.resp_headers or {}).items()}
            wish = retry_after_s(headers.get("retry-after"), now=utc_now())
            raise Closed(ABNORMAL, "refused", status=error.status_code, retry_after=wish) from None
        except (websocket.WebSocketException, OSError, ValueError) as error:
            self._release()
            raise Closed(ABNORMAL, type(error).__name__) from None
        # The library forgets the socket, unclosed, when the server ends first.
        self._tcp: socket.socket = self._socket.sock

    def send(self, frame: dict[str, Any]) -> None:
        """Send one message. Raises Closed."""
        try:
            self._socket.send(json.dumps(frame, separators=(",", ":")))
        except (websocket.WebSocketException, OSError) as error:
            raise Closed(ABNORMAL, type(error).__name__) from None

    def receive(self, timeout_s: float) -> dict[str, Any]:
        """The next message; pings are answered meanwhile. Raises Silent and Closed."""
        self._socket.settimeout(timeout_s)
        parts: list[bytes] = []
        try:
            while True:
                frame = self._socket.recv_frame()
                if frame.opcode == websocket.ABNF.OPCODE_PING:
                    self._socket.pong(frame.data)
                elif frame.opcode == websocket.ABNF.OPCODE_CLOSE:
                    raise self._goodbye(frame.data)
                elif frame.opcode != websocket.ABNF.OPCODE_PONG:
                    parts.append(frame.data)
                    if frame.fin:
                        return _message(b"".join(parts))
        except websocket.WebSocketTimeoutException:
            raise Silent from None
        except websocket.WebSocketConnectionClosedException:
            raise Closed(ABNORMAL, "cut") from None
        except (websocket.WebSocketException, OSError) as error:
            raise Closed(ABNORMAL, type(error).__name__) from None

    def _goodbye(self, data: bytes) -> Closed:
        with contextlib.suppress(websocket.WebSocketException, OSError):
            self._socket.send_close()
        if len(data) < _CODE_BYTES:
            return Closed(ABNORMAL, "no code")
        code = int.from_bytes(data[:_CODE_BYTES], "big")
        return Closed(code, data[_CODE_BYTES:].decode("utf-8", "replace"))

    def leave(self) -> None:
        """Say goodbye without waiting; whoever receives is woken."""
        with contextlib.suppress(websocket.WebSocketException, OSError):
            self._socket.send_close()
        with contextlib.suppress(OSError):
            self._tcp.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Give the socket back."""
        self._release()
        self._tcp.close()

    def _release(self) -> None:
        with contextlib.suppress(websocket.WebSocketException, OSError):
            self._socket.shutdown()


def _message(data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except ValueError:
        raise Closed(PROTOCOL, "not JSON") from None
    if not isinstance(found, dict):
        raise Closed(PROTOCOL, "not an object")
    return found
