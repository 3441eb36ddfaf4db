"""A stream of numbered events through a real relay, and clients that account for every one of them."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from tenure.client import Client, Gap, Live, State
from tenure.client.credentials import ApiKey
from tenure.events.append import NewEvent, append
from tenure.kit.db import Database
from tests.support.waiting import until

BROAD, OBJECT = "subscriptions", "subscription:sub_stream"


@dataclass
class Writer:
    """Writes an event every so often, each in a transaction of its own, until it is stopped."""

    db: Database
    pause_s: float
    written: int = 0
    stopping: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        while not self.stopping.wait(self.pause_s):
            self.write()

    def await_more(self, count: int) -> None:
        """Return when so many more are written."""
        enough = self.written + count
        until(lambda: self.written >= enough, 60, what="more events are written")

    def write(self) -> None:
        data = {"n": self.written}
        with self.db.transaction() as session:
            append(session, [NewEvent("test.counted", OBJECT, (BROAD, OBJECT), data)])
        self.written += 1


@contextlib.contextmanager
def writing(database_url: str, *, per_second: float) -> Iterator[Writer]:
    """A writer in a thread; afterwards it has stopped."""
    db = Database(database_url, pool_size=1, application="test-writer")
    writer = Writer(db, 1 / per_second)
    thread = threading.Thread(target=writer.run)
    thread.start()
    try:
        yield writer
    finally:
        writer.stopping.set()
        thread.join()
        db.close()


@dataclass
class Follower:
    """A client of the stream, and what it was told so far."""

    live: Live
    seen: dict[str, list[int]] = field(default_factory=lambda: {BROAD: [], OBJECT: []})
    gaps: list[Gap] = field(default_factory=list)

    def read(self) -> None:
        """Take what has arrived. Who is not read for long is cut off: a client keeps only so much unread."""
        while (item := self.live.next(0)) is not None:
            if isinstance(item, Gap):
                self.gaps.append(item)
            elif item.type == "test.counted":
                self.seen[item.channel].append(item.data["n"])


@dataclass
class Crowd:
    """Many clients that follow the stream."""

    followers: list[Follower]

    @property
    def lives(self) -> list[Live]:
        return [one.live for one in self.followers]

    def all_open(self) -> bool:
        for live in self.lives:
            if live._end is not None:
                raise live._end  # this one will not come back
        return all(live.state is State.OPEN for live in self.lives)

    def connections(self) -> list[int]:
        """How often each has come to be open."""
        return [live.connections for live in self.lives]

    def back(self, before: list[int]) -> bool:
        """Whether everybody has connected again since then and is open."""
        moved = zip(self.connections(), before, strict=True)
        return self.all_open() and all(now > then for now, then in moved)

    def await_back(self, before: list[int], within_s: float = 120.0) -> None:
        """Return when everybody has connected again since then; all have been read up to where they were."""
        for one in self.followers:
            one.read()
        until(lambda: self.back(before), within_s, what="everybody is back")

    def close(self) -> None:
        for live in self.lives:
            live._stop.set()
        for live in self.lives:
            live.close()


@contextlib.contextmanager
def crowd(place: Any, key: str, count: int) -> Iterator[Crowd]:
    """So many open clients; `place` says at each connection where the server is."""
    made = Crowd([])
    try:
        made.followers += [Follower(Live(place, ApiKey(key), [BROAD, OBJECT])) for _ in range(count)]
        until(made.all_open, 90, what="everybody is connected")
        yield made
    finally:
        made.close()


class Log:
    """The stream as HTTP tells it: read once, when the first who was told of a gap asks."""

    def __init__(self, client: Client) -> None:
        self._client = client

    @cached_property
    def _by_seq(self) -> dict[int, int]:
        events = self._client.events()
        return {event["seq"]: event["data"]["n"] for event in events if event["type"] == "test.counted"}

    def after(self, seq: int) -> set[int]:
        """The numbers that came after this one of the log's."""
        return {number for at, number in self._by_seq.items() if at > seq}


def account(follower: Follower, written: int, log: Log, *, within_s: float = 60.0) -> int:
    """Read everything and fail unless each number came exactly once; how many gaps were told.

    The object's channel has no gaps. What a gap of the broad channel hides is in the log.
    """
    seen, gaps, last = follower.seen, follower.gaps, written - 1

    def read() -> bool:
        follower.read()
        return bool(seen[OBJECT]) and seen[OBJECT][-1] == last and (bool(gaps) or seen[BROAD][-1:] == [last])

    until(read, within_s, what=f"the last of {written} events arrived")
    assert [gap for gap in gaps if gap.channel == OBJECT] == []
    assert seen[OBJECT] == list(range(written))
    assert len(seen[BROAD]) == len(set(seen[BROAD])), "nothing twice"
    assert seen[BROAD] == sorted(seen[BROAD])
    if gaps:
        hidden = log.after(min(gap.after_seq for gap in gaps))
        assert hidden | set(seen[BROAD]) == set(range(written))
    else:
        assert seen[BROAD] == list(range(written))
    return len(gaps)
