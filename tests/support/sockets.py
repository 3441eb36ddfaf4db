"""A WebSocket client for tests that shows every frame and the close code."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import websocket

from tests.support.web import Web

PATIENCE_S = 10.0


class Client:
    """One connection."""

    def __init__(self, web: Web, **options: Any) -> None:
        options.setdefault("suppress_origin", "origin" not in options)
        self.socket = websocket.create_connection(
            f"ws://127.0.0.1:{web.port}/ws", timeout=PATIENCE_S, **options
        )
        self._raw = self.socket.sock  # the library forgets it, unclosed, when the server ends first
        self.seen: list[dict[str, Any]] = []

    def close(self) -> None:
        """Say goodbye if the server still listens, and close."""
        self.socket.close(timeout=1)
        if self._raw is not None:
            self._raw.close()

    def send(self, **frame: Any) -> None:
        self.socket.send(json.dumps(frame))

    def send_text(self, text: str) -> None:
        self.socket.send(text)

    def next(self) -> dict[str, Any]:
        """The next text frame. Fails when the server closes instead."""
        opcode, data = self.socket.recv_data()
        if opcode != websocket.ABNF.OPCODE_TEXT:
            raise AssertionError(f"closed with {data!r}; seen before: {str(self.seen)[-500:]}")
        frame: dict[str, Any] = json.loads(data)
        self.seen.append(frame)
        return frame

    def until(self, **wanted: Any) -> dict[str, Any]:
        """The next frame that has these values."""
        while True:
            frame = self.next()
            if all(frame.get(key) == value for key, value in wanted.items()):
                return frame

    def close_code(self) -> int:
        """The code that the server closes with; text frames before it are kept in `seen`."""
        while True:
            opcode, data = self.socket.recv_data()
            if opcode == websocket.ABNF.OPCODE_CLOSE:
                return int.from_bytes(data[:2], "big")
            if opcode == websocket.ABNF.OPCODE_TEXT:
                self.seen.append(json.loads(data))

    def ask(self, **frame: Any) -> dict[str, Any]:
        """Send with a `rid` and return its one answer."""
        rid = f"r{id(frame)}"
        self.send(rid=rid, **frame)
        return self.until(rid=rid)


@contextlib.contextmanager
def client(web: Web, role: str | None = None, **options: Any) -> Iterator[Client]:
    """A connection; with a role it has authenticated."""
    made = Client(web, **options)
    try:
        if role is not None:
            made.send(type="auth", token=web.key(role))
            made.until(event="authenticated")
        yield made
    finally:
        made.close()
