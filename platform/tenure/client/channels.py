"""Where each followed channel stands, and what of what arrives is new.

Offsets of a channel are contiguous within an epoch, so an event is new, a repeat, or shows a hole. After
the server's memory of a channel began anew, old events may be told again under new offsets; their `seq`
gives them away.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a channel, to come back to."""

    offset: int
    epoch: str


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened. `offset` 0: true only now (a queue's depth), without a place or history."""

    channel: str
    offset: int
    epoch: str
    id: str
    seq: int | None
    type: str
    ts: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Gap:
    """Events of this channel may be missing here: read the state again over HTTP.

    `after_seq` is the newest event of the channel that was seen (0: none): `Client.events(after=...)` has
    everything since.
    """

    channel: str
    after_seq: int


class Verdict(StrEnum):
    """What to do with an event that arrived."""

    NEW = "new"
    REPEAT = "repeat"
    HOLE = "hole"
    NEW_LIFE = "new_life"


@dataclass(slots=True)
class Followed:
    """One channel. While `resuming`, what is not next in line comes again in the replay."""

    name: str
    position: Position | None = None
    seq: int = 0
    resuming: bool = False

    def judge(self, event: Event) -> Verdict:
        """Whether the event is to be shown."""
        at = self.position
        if event.offset <= 0:
            return Verdict.NEW
        if at is not None and event.epoch != at.epoch:
            # A channel that had never carried anything has no epoch yet: its first event is no loss.
            return Verdict.NEW if not at.epoch and event.offset == 1 else Verdict.NEW_LIFE
        if at is not None and event.offset <= at.offset:
            return Verdict.REPEAT
        if at is not None and event.offset > at.offset + 1:
            return Verdict.REPEAT if self.resuming else Verdict.HOLE
        return Verdict.NEW

    def advance(self, event: Event) -> bool:
        """Stand at this event; whether it has not been seen before."""
        if event.offset <= 0:
            return True
        self.position = Position(event.offset, event.epoch)
        if event.seq is None:
            return True
        if event.seq <= self.seq:
            return False
        self.seq = event.seq
        return True


@dataclass(slots=True)
class Channels:
    """All followed channels."""

    by_name: dict[str, Followed] = field(default_factory=dict)

    @classmethod
    def of(cls, names: Iterable[str], since: Mapping[str, Position] | None) -> Channels:
        """These channels, some of them at a known place."""
        known = since or {}
        return cls({name: Followed(name, known.get(name)) for name in dict.fromkeys(names)})

    def subscription(self, names: Iterable[str] | None = None) -> dict[str, Any]:
        """The frame that joins these channels (all by default), each where it stands."""
        chosen = [self.by_name[name] for name in (self.by_name if names is None else names)]
        since = {}
        for one in chosen:
            one.resuming = one.position is not None
            if one.position is not None:
                since[one.name] = {"offset": one.position.offset, "epoch": one.position.epoch}
        frame: dict[str, Any] = {"type": "subscribe", "channels": [one.name for one in chosen]}
        return {**frame, "since": since} if since else frame

    def joined(self, tops: Mapping[str, Any]) -> None:
        """Fresh channels begin where the server says they stand."""
        for name, top in tops.items():
            one = self.by_name.get(name)
            if one is not None and one.position is None:
                one.position = _position(top)

    def recovered(self, frame: Mapping[str, Any]) -> Gap | None:
        """A replay has ended; a gap if the server did not have all of it."""
        one = self.by_name.get(str(frame.get("channel")))
        if one is None:
            return None
        one.resuming = False
        if frame.get("complete"):
            return None
        one.position = _position(frame)
        return Gap(one.name, one.seq)

    def lost(self, frame: Mapping[str, Any]) -> Gap | None:
        """The server itself could not fill a hole; the next event is where the channel stands then."""
        one = self.by_name.get(str(frame.get("channel")))
        if one is None:
            return None
        one.resuming, one.position = False, None
        return Gap(one.name, one.seq)

    def forget(self) -> list[Gap]:
        """No place is good any more."""
        gaps = []
        for one in self.by_name.values():
            one.position, one.resuming = None, False
            gaps.append(Gap(one.name, one.seq))
        return gaps

    def received(self, frame: Mapping[str, Any]) -> tuple[list[Event | Gap], str | None]:
        """What is to be shown for this frame, and the channel that must be asked again."""
        one = self.by_name.get(str(frame.get("channel")))
        if one is None:
            return [], None
        event = Event(
            channel=one.name,
            offset=int(frame["offset"]),
            epoch=str(frame["epoch"]),
            id=str(frame["id"]),
            seq=frame.get("seq"),
            type=str(frame["type"]),
            ts=str(frame.get("ts", "")),
            data=frame.get("data") or {},
        )
        verdict = one.judge(event)
        if verdict is Verdict.REPEAT:
            return [], None
        if verdict is Verdict.HOLE:
            return [], one.name
        shown: list[Event | Gap] = []
        if verdict is Verdict.NEW_LIFE:
            one.resuming = False
            shown.append(Gap(one.name, one.seq))
        if one.advance(event):
            shown.append(event)
        return shown, None


def _position(given: Mapping[str, Any]) -> Position:
    return Position(int(given["offset"]), str(given["epoch"]))
