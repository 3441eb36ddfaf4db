"""Asking for a run over the live connection, once, however often the connection breaks."""

from __future__ import annotations

import itertools
import queue
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tenure.client.errors import CommandRefused


@dataclass(frozen=True, slots=True)
class RunAck:
    """The run was accepted; `duplicate`: it was asked for before with this key."""

    slot_id: str
    due_at: str
    duplicate: bool


class ConnectionLost(Exception):
    """The answer will not come on this connection; the command may or may not have been carried out."""


@dataclass(slots=True)
class Waiting:
    """Commands whose answer has not come. Each `rid` gets one answer, or the end of its connection."""

    _boxes: dict[str, queue.SimpleQueue[Mapping[str, Any] | None]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def open(self) -> str:
        """A new `rid` that an answer is expected for."""
        rid = f"c{next(self._numbers)}"
        with self._lock:
            self._boxes[rid] = queue.SimpleQueue()
        return rid

    def answered(self, frame: Mapping[str, Any]) -> bool:
        """Hand an `ack` or `error` over to whoever waits; whether somebody does."""
        with self._lock:
            box = self._boxes.get(str(frame.get("rid")))
        if box is not None:
            box.put(frame)
        return box is not None

    def connection_lost(self) -> None:
        """Wake everybody: these answers will not come."""
        with self._lock:
            boxes = list(self._boxes.values())
        for box in boxes:
            box.put(None)

    def result(self, rid: str, timeout_s: float) -> Mapping[str, Any]:
        """The `ack` of this command. Raises CommandRefused, ConnectionLost, TimeoutError."""
        with self._lock:
            box = self._boxes[rid]
        try:
            frame = box.get(timeout=max(0.0, timeout_s))
        except queue.Empty:
            raise TimeoutError("the server has not answered in time") from None
        finally:
            with self._lock:
                self._boxes.pop(rid, None)
        if frame is None:
            raise ConnectionLost
        if frame.get("event") == "error":
            raise refusal(frame)
        return frame


def refusal(frame: Mapping[str, Any]) -> CommandRefused:
    """An `error` frame as an exception."""
    wish = frame.get("retry_after_ms")
    return CommandRefused(
        str(frame.get("code")), str(frame.get("message", "")), None if wish is None else float(wish) / 1000
    )


def ack_of(frame: Mapping[str, Any]) -> RunAck:
    """The `ack` of a run."""
    result = frame["result"]
    return RunAck(str(result["slot_id"]), str(result["due_at"]), bool(frame.get("duplicate")))
