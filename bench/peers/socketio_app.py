"""Flask-SocketIO under gunicorn with gevent, its clients on the websocket transport alone."""

from __future__ import annotations

import os
from typing import Any

import redis
from flask import Flask
from flask_socketio import SocketIO

app = Flask(__name__)
socketio = SocketIO(app, async_mode="gevent", path="/ws", ping_interval=25, http_compression=False)


@app.get("/livez")
def livez() -> str:
    return "ok"


def _broadcast() -> None:
    client: Any = redis.Redis.from_url(os.environ["TENURE_LIVE_URL"], decode_responses=True)
    pubsub = client
    pubsub = client.pubsub(ignore_subscribe_messages=True)
    pubsub.subscribe("bench")
    for message in pubsub.listen():
        socketio.emit("event", message["data"])


socketio.start_background_task(_broadcast)
