"""Somebody's webhook endpoint: real HTTP, every post kept and its signature checked when asked."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

from tenure.kit import clock, signing
from tenure.standins.httpserver import HttpStandIn, Reply, Request


class Receiver(HttpStandIn):
    """Answers 200, or what `react` answers."""

    def __init__(self, react: Callable[[Request], Reply] | None = None) -> None:
        super().__init__()
        self.react = react or (lambda _request: Reply(200))
        self._lock = threading.Lock()
        self._requests: list[Request] = []

    def answer(self, request: Request) -> Reply:
        with self._lock:
            self._requests.append(request)
        return self.react(request)

    @property
    def requests(self) -> list[Request]:
        with self._lock:
            return list(self._requests)

    @property
    def ids(self) -> Counter[str]:
        """How often each message id came."""
        return Counter(request.headers[signing.ID_HEADER] for request in self.requests)

    def messages(self, secret: str) -> list[dict[str, Any]]:
        """The bodies, each with a signature of this secret; one without fails the test."""
        found = []
        for request in self.requests:
            message_id = signing.verify(
                [secret], headers=request.headers, body=request.body, now=clock.unix_seconds()
            )
            body = json.loads(request.body)
            assert body["id"] == message_id
            found.append(body)
        return found


def answers(*statuses: int) -> Callable[[Request], Reply]:
    """These statuses in turn, the last one for good."""
    left = list(statuses)
    lock = threading.Lock()

    def react(_request: Request) -> Reply:
        with lock:
            status = left.pop(0) if len(left) > 1 else left[0]
        return Reply(status, None)

    return react
