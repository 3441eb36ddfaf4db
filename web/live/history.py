"""Reading back: the top of a channel, and the events behind an offset; from Valkey or from Postgres."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

from tenure.events.append import BROAD_CHANNELS
from tenure.events.publish import PREFIX
from tenure.events.queries import channel_history, channel_top
from tenure.kit.ids import new_id
from web.live.channels import OBJECT_EPOCH
from web.services import Services

_PAGE: Final = 1000


@dataclass(frozen=True, slots=True)
class Past:
    """What lies behind an offset: events oldest first, where the channel stands, and whether all is there."""

    events: list[tuple[int, dict[str, Any]]]
    top: int
    epoch: str
    complete: bool


def top_of(made: Services, channel: str) -> tuple[int, str]:
    """The newest offset and the epoch. Raises redis errors or Unavailable.

    A channel that has carried nothing gets its epoch here, so that a place before its first event is a
    place that can be come back to.
    """
    if channel in BROAD_CHANNELS:
        meta = f"{PREFIX}:meta:{channel}"
        off, epoch = made.live.hmget(meta, ["off", "epoch"])
        if epoch is None:
            made.live.hsetnx(meta, "epoch", new_id("ep")[3:])
            off, epoch = made.live.hmget(meta, ["off", "epoch"])
        return int(off or 0), str(epoch or "")
    with made.db.transaction() as session:
        return channel_top(session, channel), OBJECT_EPOCH


def past_of(made: Services, channel: str, *, offset: int, epoch: str) -> Past:
    """The events behind this offset of this epoch. Raises redis errors or Unavailable."""
    if channel in BROAD_CHANNELS:
        return _from_stream(made, channel, offset, epoch)
    return _from_record(made, channel, offset, epoch)


def _from_stream(made: Services, channel: str, offset: int, epoch: str) -> Past:
    top, current = top_of(made, channel)
    if epoch != current or offset > top:
        return Past([], top, current, complete=epoch == current and offset <= top)
    if offset == top:
        return Past([], top, current, complete=True)
    entries: Any = made.live.xrange(f"{PREFIX}:stream:{channel}", min=f"{offset + 1}-0", max="+")
    events = [(int(id_.split("-")[0]), json.loads(fields["e"])) for id_, fields in entries]
    if not events:
        return Past([], top, current, complete=False)
    # Contiguous by construction: only its beginning can be missing.
    return Past(events, max(top, events[-1][0]), current, complete=events[0][0] == offset + 1)


def _from_record(made: Services, channel: str, offset: int, epoch: str) -> Past:
    with made.db.transaction() as session:
        top = channel_top(session, channel)
        if epoch != OBJECT_EPOCH or offset > top:
            return Past([], top, OBJECT_EPOCH, complete=False)
        rows: list[dict[str, Any]] = []
        at = offset
        while len(page := channel_history(session, channel, offset=at, limit=_PAGE)) > 0:
            rows += page
            at = page[-1]["offset"]
    events = [(row["offset"], row) for row in rows]
    return Past(events, max(top, at), OBJECT_EPOCH, complete=True)
