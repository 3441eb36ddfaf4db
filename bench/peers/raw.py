"""The physical limit: one loop that sends ready bytes to raw sockets, with no WebSocket code at all.

The upgrade is answered and what clients send is never read; each message goes out as one `send` a socket.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import socket
import sys
import threading
from typing import Any

import redis

from web.live import frames

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3


def main(port: int) -> None:
    """Serve until killed."""
    sockets: list[socket.socket] = []
    listener = socket.create_server(("127.0.0.1", port), backlog=1024)
    threading.Thread(target=_accept, args=(listener, sockets), daemon=True).start()
    client: Any = redis.Redis.from_url(os.environ["TENURE_LIVE_URL"])
    pubsub = client.pubsub(ignore_subscribe_messages=True)
    pubsub.subscribe("bench")
    for message in pubsub.listen():
        frame = frames.text(json.loads(message["data"]))
        for each in list(sockets):
            try:
                each.send(frame)
            except OSError:  # its client has gone
                sockets.remove(each)


def _accept(listener: socket.socket, sockets: list[socket.socket]) -> None:
    while True:
        connection, _ = listener.accept()
        asked = b""
        while b"\r\n\r\n" not in asked:
            asked += connection.recv(4096)
        if not asked.startswith(b"GET /ws"):
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            connection.close()
            continue
        key = re.search(rb"(?i)sec-websocket-key: *(\S+)", asked)
        assert key, asked
        accept = base64.b64encode(hashlib.sha1(key[1] + _GUID).digest())
        connection.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
        sockets.append(connection)


if __name__ == "__main__":
    main(int(sys.argv[1]))
