"""Publish placed events to the live layer, each exactly once per channel.

One Lua call carries one event into all its broad channels: it refuses what a channel already has
(`seq <= last_seq`), gives a contiguous offset, keeps the last 100 in the channel's stream under the id
`<offset>-0`, and rings the bell. Pub/sub is only the bell: a reader that missed it repairs the hole from
the stream. A channel whose Valkey lost its memory starts a new epoch, so old offsets are never mistaken: the
call publishes nothing unless the mark of what was published before is there.
"""

from __future__ import annotations

import json
from collections import Counter, OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Final

import redis

from tenure.events.append import BROAD_CHANNELS
from tenure.events.order import PlacedEvent

PREFIX: Final = "tenure:live"
HISTORY: Final = 100
_PUBLISHED: Final = f"{PREFIX}:published"
# More events than this of one iteration and type on a broad channel become one `*.bulk_changed`.
BULK: Final = 50
_BULK_ID: Final = "-bulk"
_REMEMBERED: Final = 1000

# KEYS: 1 the published mark, then (meta, stream) of each broad channel.
# ARGV: seq, event JSON, object offsets as JSON entries (may be empty), epoch for new channels, the least that
# the mark must be (-1: no matter), where the mark goes, then names. -1 back: the mark is not there, nothing
# was done.
_PUBLISH_LUA: Final = """
local seq, event, objects, fresh = tonumber(ARGV[1]), ARGV[2], ARGV[3], ARGV[4]
local mark = tonumber(redis.call('GET', KEYS[1]) or '-1')
if mark < tonumber(ARGV[5]) then return -1 end
local at = {}
for i = 7, #ARGV do
    local meta, stream = KEYS[2 + (i - 7) * 2], KEYS[3 + (i - 7) * 2]
    local last = tonumber(redis.call('HGET', meta, 'last_seq') or '-1')
    if seq > last then
        redis.call('HSETNX', meta, 'epoch', fresh)
        local epoch = redis.call('HGET', meta, 'epoch')
        local offset = redis.call('HINCRBY', meta, 'off', 1)
        redis.call('HSET', meta, 'last_seq', seq)
        redis.call('XADD', stream, 'MAXLEN', HISTORY, offset .. '-0', 'e', event)
        at[#at + 1] = '["' .. ARGV[i] .. '",' .. offset .. ',"' .. epoch .. '"]'
    end
end
if objects ~= '' then at[#at + 1] = objects end
if #at > 0 then
    redis.call('PUBLISH', 'tenure:live', '{"seq":' .. seq .. ',"event":' .. event .. ',"at":['
        .. table.concat(at, ',') .. ']}')
end
if tonumber(ARGV[6]) > mark then redis.call('SET', KEYS[1], ARGV[6]) end
return #at
""".replace("HISTORY", str(HISTORY))


class Forgotten(Exception):
    """Valkey does not know any more what was published before: it was emptied, or went back in time."""


class Publisher:
    """Carries placed events to Valkey and remembers, in Valkey, how far it got."""

    def __init__(self, valkey: redis.Redis, *, epoch: str) -> None:
        """`epoch` names the life of channels that this publisher has to begin anew."""
        self._valkey = valkey
        self._epoch = epoch
        self._script = valkey.register_script(_PUBLISH_LUA)
        # How many events of an iteration went out one by one, to know when it becomes a bulk change.
        self._told: OrderedDict[tuple[str, str], int] = OrderedDict()

    def published_upto(self) -> int | None:
        """The place of the newest event that was published; None when Valkey does not know (any more)."""
        mark: Any = self._valkey.get(_PUBLISHED)
        return None if mark is None else int(mark)

    def forget(self, *, epoch: str, published_upto: int) -> None:
        """Channels begin a new life behind this place, and their old offsets mean nothing."""
        stale = []
        for channel in BROAD_CHANNELS:
            stale += [f"{PREFIX}:meta:{channel}", f"{PREFIX}:stream:{channel}"]
        with self._valkey.pipeline(transaction=True) as pipe:
            pipe.delete(*stale)
            pipe.set(_PUBLISHED, published_upto)
            pipe.execute()
        self._epoch = epoch

    def publish(self, events: Sequence[PlacedEvent], *, after: int | None = None) -> None:
        """Publish in order. Safe to repeat. Raises redis errors: the caller tries the rest again later.

        `after` is the place that Valkey must know as published; without it (None) anything goes. Raises
        Forgotten when it does not: from that event on nothing was published.
        """
        if not events:
            return
        with self._valkey.pipeline(transaction=False) as pipe:
            for event in self._conflated(events):
                # The place of a bulk change is told in full only with the event itself, which follows.
                upto = after if event.id.endswith(_BULK_ID) else event.seq
                self._queue(pipe, event, after, upto)
                after = upto
            if -1 in pipe.execute():
                raise Forgotten

    def ring(self, channel: str, event: dict[str, Any]) -> None:
        """Send something that is true only now (a queue's depth) without history or place."""
        message = {"seq": 0, "event": event, "at": [[channel, 0, ""]]}
        self._valkey.publish(PREFIX, json.dumps(message, separators=(",", ":")))

    def _queue(self, pipe: Any, event: PlacedEvent, after: int | None, upto: int | None) -> None:
        broad = [channel for channel in event.channels if channel in BROAD_CHANNELS]
        keys = [_PUBLISHED]
        for channel in broad:
            keys += [f"{PREFIX}:meta:{channel}", f"{PREFIX}:stream:{channel}"]
        body = {
            "id": event.id,
            "seq": event.seq,
            "type": event.type,
            "ts": event.ts,
            "subject": event.subject,
            "iteration_id": event.iteration_id,
            "data": event.data,
        }
        objects = ",".join(
            json.dumps([channel, offset, "pg"], separators=(",", ":"))
            for channel, offset in event.offsets.items()
        )
        arguments: list[str | int] = [
            event.seq,
            json.dumps(body, separators=(",", ":")),
            objects,
            self._epoch,
            -1 if after is None else after,
            -1 if upto is None else upto,
            *broad,
        ]
        self._script(keys=keys, args=arguments, client=pipe)

    def _conflated(self, events: Sequence[PlacedEvent]) -> Iterable[PlacedEvent]:
        """The same events, where a bulk change tells of many at once on the broad channels.

        It comes before all that it stands for: a publisher that dies in their midst has told of every one.
        """
        groups = Counter((e.iteration_id, e.type) for e in events if e.iteration_id is not None)
        in_bulk: set[tuple[str, str]] = set()
        for event in events:
            key = (event.iteration_id or "", event.type)
            if groups[key] + self._told.get(key, 0) <= BULK:
                yield event
                continue
            if key not in in_bulk:
                in_bulk.add(key)
                yield self._bulk(event, groups[key])
            yield replace(event, channels=tuple(c for c in event.channels if c not in BROAD_CHANNELS))
        self._remember(groups)

    def _bulk(self, event: PlacedEvent, count: int) -> PlacedEvent:
        noun = event.type.split(".", 1)[0]
        return replace(
            event,
            id=event.id + _BULK_ID,
            type=f"{noun}.bulk_changed",
            channels=tuple(c for c in event.channels if c in BROAD_CHANNELS),
            offsets={},
            data={"iteration_id": event.iteration_id, "type": event.type, "count": count},
        )

    def _remember(self, groups: Counter[tuple[str, str]]) -> None:
        for key, count in groups.items():
            self._told[key] = self._told.pop(key, 0) + count
        while len(self._told) > _REMEMBERED:
            self._told.popitem(last=False)
