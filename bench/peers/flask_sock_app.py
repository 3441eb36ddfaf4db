"""flask-sock as its documentation shows it, under gunicorn with gevent: one greenlet reads a connection."""

from __future__ import annotations

import os
from typing import Any

import gevent
import redis
from flask import Flask
from flask_sock import ConnectionClosed, Sock

app = Flask(__name__)
sock = Sock(app)
_open: set[Any] = set()


def _broadcast() -> None:
    client: Any = redis.Redis.from_url(os.environ["TENURE_LIVE_URL"], decode_responses=True)
    pubsub = client
    pubsub = client.pubsub(ignore_subscribe_messages=True)
    pubsub.subscribe("bench")
    for message in pubsub.listen():
        for ws in list(_open):
            try:
                ws.send(message["data"])
            except (ConnectionClosed, OSError):
                _open.discard(ws)


@app.get("/livez")
def livez() -> str:
    return "ok"


@sock.route("/ws")  # type: ignore[untyped-decorator]
def serve(ws: Any) -> None:
    _open.add(ws)
    try:
        while True:
            ws.receive()
    finally:
        _open.discard(ws)


gevent.spawn(_broadcast)
