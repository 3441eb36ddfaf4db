"""Channels: who listens, up to which offset this node has delivered, and joining without a hole.

A listener that joins reads history while events keep arriving. Until its history is complete it is
`joining`: new events wait in its buffer, and afterwards those behind its history are dropped by offset.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from tenure.events.append import BROAD_CHANNELS, OBJECT_CHANNELS
from web.live import frames
from web.live.frames import Close

if TYPE_CHECKING:
    from web.live.connection import Connection

OBJECT_EPOCH: Final = "pg"
HISTORY: Final = 100
_LONGEST_ID: Final = 100
# Events that wait for a listener whose history is still being read; with more it has to begin anew.
MOST_WAITING: Final = 1000


@dataclass(slots=True)
class Joining:
    """A listener whose history is being read (`buffer` is a list), or is ahead of this node's reader."""

    buffer: list[tuple[int, str, bytes]] | None = field(default_factory=list)
    upto: int = 0
    epoch: str = ""


@dataclass(slots=True)
class Channel:
    """One channel that somebody on this node listens to."""

    name: str
    last: int | None = None
    epoch: str = ""
    listeners: set[Connection] = field(default_factory=set)
    joining: dict[Connection, Joining] = field(default_factory=dict)

    @property
    def is_broad(self) -> bool:
        """Whether its history lies in Valkey (the last 100), not in Postgres (all)."""
        return self.name in BROAD_CHANNELS

    @property
    def is_empty(self) -> bool:
        """Whether nobody listens."""
        return not self.listeners and not self.joining

    def deliver(self, offset: int, epoch: str, frame: bytes) -> int:
        """Give the frame to everybody who has not had it; how many that were."""
        for connection in self.listeners:
            connection.send(frame)
        count = len(self.listeners)
        for connection, joining in list(self.joining.items()):
            if joining.buffer is not None:
                joining.buffer.append((offset, epoch, frame))
                if len(joining.buffer) > MOST_WAITING:
                    connection.close(Close.STATE_LOST, "joining took too long")
            elif epoch != joining.epoch or offset > joining.upto:
                connection.send(frame)
                self._settle(connection)
                count += 1
        return count

    def broadcast(self, frame: bytes) -> int:
        """Give a frame without an offset to everybody; how many that were."""
        for connection in (*self.listeners, *self.joining):
            connection.send(frame)
        return len(self.listeners) + len(self.joining)

    def show(self, subject: str, frame: bytes) -> int:
        """Give everybody what is true of this subject only now; how many that were.

        Who reads too slowly for all of them gets the newest.
        """
        for connection in (*self.listeners, *self.joining):
            connection.send_newest(subject, frame)
        return len(self.listeners) + len(self.joining)

    def joined(self, connection: Connection, *, upto: int, epoch: str) -> int:
        """History up to this offset has been sent: send what came meanwhile, then listen live."""
        joining = self.joining.get(connection)
        if joining is None:
            return 0
        waiting, joining.buffer, joining.upto, joining.epoch = joining.buffer or [], None, upto, epoch
        if self.last is None:
            # Nobody listened before: this history is where the channel's own account begins.
            self.last, self.epoch = upto, epoch
        first, last, count = self.last == upto and self.epoch == epoch, upto, 0
        for offset, of_epoch, frame in waiting:
            if of_epoch == epoch and offset <= last:
                continue
            if of_epoch == epoch and offset != last + 1:
                break  # something was missed: the reader will find the hole and fill it
            connection.send(frame)
            last = offset
            count += 1
        if first:
            self.last = max(self.last, last)
        if self.epoch != epoch or self.last >= last:
            self._settle(connection)
        else:
            joining.upto = last
        return count

    def leave(self, connection: Connection) -> None:
        """This connection does not listen any more."""
        self.listeners.discard(connection)
        self.joining.pop(connection, None)

    def _settle(self, connection: Connection) -> None:
        self.joining.pop(connection, None)
        self.listeners.add(connection)


def is_channel(name: str) -> bool:
    """Whether there can be a channel of this name."""
    if name in BROAD_CHANNELS:
        return True
    kind, _, id_ = name.partition(":")
    return kind in OBJECT_CHANNELS and 0 < len(id_) <= _LONGEST_ID and id_.isascii() and id_.isprintable()


def event_frame(channel: str, offset: int, epoch: str, event: dict[str, Any]) -> bytes:
    """An event as every listener of this channel gets it."""
    return frames.message(
        "event",
        {
            "channel": channel,
            "offset": offset,
            "epoch": epoch,
            "id": event["id"],
            "seq": event["seq"],
            "type": event["type"],
            "ts": event["ts"],
            "data": event["data"],
        },
    )
