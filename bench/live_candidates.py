"""The servers that `live.py` measures: how each is started, greeted by its clients, and given events.

All of them get the same bytes: the document that Tenure's frame of the event holds.
"""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from bench import live_client
from bench.machine import Servers
from bench.serving import PORT
from tenure.accounts.api_keys import create_api_key
from tenure.accounts.principal import Role
from tenure.events.order import PlacedEvent
from tenure.events.publish import Publisher
from tenure.kit.db import Database
from tenure.kit.valkey import connect

_DATA = {"note": "x" * 60}
# Tenure's web process, and what keeps its limits out of a benchmark's way.
WEB = (sys.executable, "-m", "gunicorn", "-c", "web/gunicorn.conf.py", "--worker-connections", "20000",
       "--bind", f"127.0.0.1:{PORT}")  # fmt: skip
WEB_SETTINGS = {
    "TENURE_LIMITS": json.dumps(
        dict.fromkeys(
            (
                "ws_handshakes_per_min",
                "ws_open_per_address",
                "ws_open_per_user",
                "login_per_min",
                "api_per_min",
            ),
            0,
        )
    ),
    "TENURE_SECRET_KEY": "a benchmark's key, long enough for all",
}


@dataclass(frozen=True, slots=True)
class Candidate:
    """A server to measure: how it is started, greeted, and given an event."""

    name: str
    command: Sequence[str]
    hello: Callable[[socket.socket], None]
    publish: Callable[[int, int], None]  # (count, padding): that many events, at once
    path: str = "/ws"
    mark: bytes | None = None
    env: dict[str, str] = field(default_factory=dict)


def candidates(where: Servers) -> Iterator[Candidate]:
    live = connect(where.live_url, timeout_s=10)
    payload = json.dumps(_message(1, 0), separators=(",", ":"))

    def nothing(_: socket.socket) -> None:
        return

    def to_all(count: int, padding: int) -> None:
        text = json.dumps(_message(1, padding), separators=(",", ":")) if padding else payload
        with live.pipeline(transaction=False) as pipe:
            for _ in range(count):
                pipe.publish("bench", text)
            pipe.execute()

    def engine_io(sock: socket.socket) -> None:
        live_client.read_frame(sock)
        live_client.send_text(sock, "40")
        live_client.read_frame(sock)

    python = sys.executable
    gunicorn = [python, "-m", "gunicorn", "-k", "gevent", "-w", "1", "--worker-connections", "20000",
                "--no-control-socket", "--log-level", "warning", "--bind", f"127.0.0.1:{PORT}"]  # fmt: skip
    yield Candidate("raw sends", [python, "-m", "bench.peers.raw", PORT], nothing, to_all)
    yield _tenure(where)
    yield Candidate(
        "FastAPI/uvicorn",
        [python, "-m", "uvicorn", "bench.peers.fastapi_app:app", "--port", PORT, "--loop", "uvloop",
         "--http", "httptools", "--ws", "websockets-sansio", "--log-level", "warning"],
        nothing,
        to_all,
    )  # fmt: skip
    yield Candidate("flask-sock", [*gunicorn, "bench.peers.flask_sock_app:app"], nothing, to_all)
    yield Candidate(
        "Flask-SocketIO",
        [*gunicorn, "bench.peers.socketio_app:app"],
        engine_io,
        to_all,
        path="/ws/?EIO=4&transport=websocket",
        mark=b'42["event"',
    )


def _tenure(where: Servers) -> Candidate:
    db = Database(where.database_url, pool_size=1, application="bench")
    with db.transaction() as session:
        key = create_api_key(session, name="bench", role=Role.VIEWER, created_by="bench")["key"]
    publisher = Publisher(connect(where.live_url, timeout_s=10), epoch="bench")
    place = iter(range(1, 1 << 40))

    def hello(sock: socket.socket) -> None:
        join(sock, key, ["iterations", "alerts", "system"])

    def publish(count: int, padding: int) -> None:
        publisher.publish(
            [
                PlacedEvent(
                    seq=seq, id=f"evt_{seq:020d}", type="bench.event", ts="2026-01-01T00:00:00Z",
                    subject="bench", iteration_id=None, data={"note": "x" * padding} if padding else _DATA,
                    channels=("iterations",), offsets={},
                )
                for seq in (next(place) for _ in range(count))
            ]
        )  # fmt: skip

    return Candidate("Tenure", WEB, hello, publish, env=WEB_SETTINGS)


def join(sock: socket.socket, key: str, channels: Sequence[str]) -> None:
    """Say who we are and subscribe; returns when the server has acknowledged."""
    live_client.send_text(sock, json.dumps({"type": "auth", "token": key}))
    live_client.read_until(sock, "authenticated")
    live_client.send_text(sock, json.dumps({"type": "subscribe", "channels": channels, "rid": "1"}))
    live_client.read_until(sock, "ack")


def _message(offset: int, padding: int) -> dict[str, object]:
    """The document that Tenure's frame of the same event holds, so that all send the same bytes."""
    return {
        "event": "event", "channel": "iterations", "offset": offset, "epoch": "bench",
        "id": f"evt_{offset:020d}", "seq": offset, "type": "bench.event", "ts": "2026-01-01T00:00:00Z",
        "data": {"note": "x" * padding} if padding else _DATA,
    }  # fmt: skip
