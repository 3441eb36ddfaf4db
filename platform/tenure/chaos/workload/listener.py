"""A client of the WebSocket that comes back with its offsets and keeps a transcript of what it is told."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any, Final

import websocket

from tenure.chaos.throwaway import Stack
from tenure.chaos.transcript import Note, NoteKind, last_to_hear
from tenure.kit import clock

CHANNELS: Final = ("iterations", "subscriptions", "payments")
_PAUSE_S: Final = 0.5
_TICK_S: Final = 1.0
_CONNECT_S: Final = 5.0
# The server pings after 30 s of silence, and here something happens every second.
_SILENCE_S: Final = 45.0


class Listener(threading.Thread):
    """Follows the broad channels. What it kept is in `notes`, by channel."""

    def __init__(self, number: int, stack: Stack) -> None:
        """Connects after `start()`."""
        super().__init__(name=f"listener-{number}", daemon=True)
        self._stack = stack
        self._stopping = threading.Event()
        self._dropping = threading.Event()
        self.notes: dict[str, list[Note]] = {name: [] for name in CHANNELS}
        self._at: dict[str, tuple[int, str]] = {}
        self.connections = 0

    def run(self) -> None:
        """Until `stop()`: connect, come back to where it was, and listen."""
        while not self._stopping.is_set():
            try:
                self._connected()
            except (websocket.WebSocketException, OSError, ValueError, KeyError):
                # Whatever ended the connection, it comes back; what counts is what it then is told.
                self._stopping.wait(_PAUSE_S)

    def stop(self) -> None:
        """It ends within a few seconds."""
        self._stopping.set()

    def drop(self) -> None:
        """Give this connection up without a goodbye, as a train in a tunnel does, and come back."""
        self._dropping.set()

    def seen(self, channel: str) -> int:
        """The place in the order of events up to which it was told of this channel."""
        return max((note.seq for note in self.notes[channel]), default=0)

    def behind(
        self, logs: Mapping[str, Sequence[Mapping[str, Any]]], *, within_s: float
    ) -> dict[str, tuple[int, int]]:
        """The channels whose logs' ends it has not heard of in time: how far it got, and how far it should.

        Who was told that all up to the channel's very end is lost has heard of it as well.
        """
        deadline = clock.monotonic() + within_s
        while True:
            late = {
                channel: (at, end)
                for channel, log in logs.items()
                if (at := self.seen(channel)) < (end := last_to_hear(self.notes[channel], log))
                and not self._knows_of_loss(channel)
            }
            if not late or clock.monotonic() > deadline or self._stopping.wait(_TICK_S / 4):
                return late

    def _knows_of_loss(self, channel: str) -> bool:
        """Whether the last that it was told is a loss up to where the channel stands now."""
        notes = self.notes[channel]
        if not notes or notes[-1].kind is not NoteKind.LOST:
            return False
        probe = Listener(-1, self._stack)  # what it hears on the way is not ours
        try:
            with closing(probe._opened()) as socket:
                end = probe._subscribed(socket, {})[channel]
        except (websocket.WebSocketException, OSError, ValueError, KeyError):
            return False  # the next look asks again
        return (notes[-1].offset, notes[-1].epoch) == (end["offset"], end["epoch"])

    def _connected(self) -> None:
        socket = self._opened()
        try:
            self.connections += 1
            self._dropping.clear()
            since = {name: {"offset": at[0], "epoch": at[1]} for name, at in self._at.items()}
            self._take_position(self._subscribed(socket, since))
            socket.settimeout(_TICK_S)
            self._listen(socket)
        finally:
            socket.close(timeout=1)

    def _opened(self) -> websocket.WebSocket:
        """A connection of the administrator; the caller closes it."""
        address = self._stack.url.replace("http", "ws", 1) + "/ws"
        socket = websocket.create_connection(address, timeout=_CONNECT_S, suppress_origin=True)
        socket.send(json.dumps({"type": "auth", "token": self._stack.key}))
        return socket

    def _subscribed(self, socket: websocket.WebSocket, since: Mapping[str, Any]) -> dict[str, Any]:
        """Subscribe to all, and where each channel stands."""
        self._until(socket, "authenticated")
        ask = {"type": "subscribe", "channels": list(CHANNELS), "since": since, "rid": "s"}
        socket.send(json.dumps(ask))
        channels: dict[str, Any] = self._until(socket, "ack")["result"]["channels"]
        return channels

    def _take_position(self, channels: Mapping[str, Any]) -> None:
        for name, at in channels.items():
            if name not in self._at:
                self._move(name, Note(NoteKind.JOINED, at["offset"], at["epoch"]))

    def _until(self, socket: websocket.WebSocket, event: str) -> dict[str, Any]:
        """The next frame of this kind; others are taken on the way. Raises ValueError on an error frame."""
        while True:
            frame: dict[str, Any] = json.loads(socket.recv())
            if frame["event"] == "error":
                raise ValueError(frame.get("message"))
            if frame["event"] == event:
                return frame
            self._take(frame)

    def _listen(self, socket: websocket.WebSocket) -> None:
        heard = clock.monotonic()
        while not (self._stopping.is_set() or self._dropping.is_set()):
            try:
                frame = json.loads(socket.recv())
            except websocket.WebSocketTimeoutException:
                if clock.monotonic() - heard > _SILENCE_S:
                    return
                continue
            heard = clock.monotonic()
            self._take(frame)

    def _take(self, frame: Mapping[str, Any]) -> None:
        channel = frame.get("channel")
        match frame["event"]:
            case "event" if frame["offset"]:
                self._move(str(channel), _noted(frame))
            case "gap":
                self.notes[str(channel)].append(Note(NoteKind.LOST, frame["to"], ""))
            case "recovered" if not frame["complete"]:
                self._move(str(channel), Note(NoteKind.LOST, frame["offset"], frame["epoch"]))

    def _move(self, channel: str, note: Note) -> None:
        self.notes[channel].append(note)
        self._at[channel] = (note.offset, note.epoch)


def _noted(frame: Mapping[str, Any]) -> Note:
    data, type_ = frame["data"], frame["type"]
    bulk = (data["iteration_id"], data["type"]) if type_.endswith(".bulk_changed") else None
    return Note(NoteKind.EVENT, frame["offset"], frame["epoch"], frame["id"], frame["seq"], type_, bulk)
