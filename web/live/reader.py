"""The one reader of a process: takes events from Valkey and hands them to the hub, each offset once.

Pub/sub only rings. An offset that does not follow the last one shows a hole, which is filled from the
channel's history before anything later is delivered. After a reconnect, and every ten seconds, all channels
are compared with their tops, so a lost ring costs seconds and no event.
"""

from __future__ import annotations

import json
from functools import partial
from typing import Any, Final

import redis
from sqlalchemy import text

from tenure.errors import TenureError
from tenure.events.publish import PREFIX
from tenure.kit import clock
from tenure.kit.logging import get_logger
from tenure.kit.valkey import connect
from web.live import frames
from web.live.channels import OBJECT_EPOCH, Channel, event_frame
from web.live.history import past_of, top_of
from web.live.hub import Hub
from web.live.tickets import CONTROL

log = get_logger("web.live")
_COMPARE_EVERY_S: Final = 10.0
_LISTEN_S: Final = 1.0
_FIRST_PAUSE_S: Final = 0.2
_LONGEST_PAUSE_S: Final = 3.0
_BREATH: Final = 200
_TOPS: Final = text("""
    SELECT channel, max(ofs) AS top FROM event_channel WHERE channel = ANY(:names) GROUP BY channel
""")


class Reader:
    """Follows the live layer for one hub."""

    def __init__(self, hub: Hub) -> None:
        """Nothing is read before `run`."""
        self.hub = hub
        self.stopped = False

    def run(self) -> None:
        """Read until `stop`. Spawned by the driver."""
        pause = _FIRST_PAUSE_S
        while not self.stopped:
            try:
                self._listen()
                pause = _FIRST_PAUSE_S
            except (redis.RedisError, OSError) as error:
                log.warning("ws.reader_disconnected", error_type=type(error).__name__)
                self.hub.driver.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE_S)

    def stop(self) -> None:
        """End soon."""
        self.stopped = True

    def _listen(self) -> None:
        client = connect(self.hub.services.settings.require_live_url())
        pubsub: Any = client.pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]
        listen = partial(pubsub.get_message, timeout=_LISTEN_S)
        try:
            pubsub.subscribe(PREFIX, CONTROL)
            self.compare()
            compared, taken = clock.monotonic(), 0
            while not self.stopped:
                given: Any = self.hub.driver.outside(listen)
                if given is not None:
                    self._take(given)
                    taken += 1
                    if taken % _BREATH == 0:
                        self.hub.driver.sleep(0)  # let the sockets be written in a long burst
                if clock.monotonic() - compared > _COMPARE_EVERY_S:
                    self.compare()
                    compared = clock.monotonic()
        finally:
            pubsub.close()
            client.close()

    def _take(self, given: dict[str, Any]) -> None:
        document = json.loads(given["data"])
        if given["channel"] == CONTROL:
            self.hub.revoked(document["revoked"])
            return
        for name, offset, epoch in document["at"]:
            channel = self.hub.channels.get(name)
            if channel is not None:
                self._arrived(channel, offset, epoch, document["event"])

    def _arrived(self, channel: Channel, offset: int, epoch: str, event: dict[str, Any]) -> None:
        frame = event_frame(channel.name, offset, epoch, event)
        if offset == 0:  # true only now, without history
            subject = event.get("subject")
            told = channel.show(subject, frame) if subject else channel.broadcast(frame)
            self.hub.stats.events_out += told
            return
        if channel.last is None:
            self.hub.stats.events_out += channel.deliver(offset, epoch, frame)
            return
        if epoch != channel.epoch and not self._new_life(channel, epoch):
            return
        if offset <= channel.last:
            return
        if offset > channel.last + 1:
            self._fill(channel)
            if offset <= channel.last:
                return
        channel.last = offset
        self.hub.stats.events_out += channel.deliver(offset, epoch, frame)

    def _new_life(self, channel: Channel, epoch: str) -> bool:
        """The channel's memory was lost and began anew: what lay between cannot be told."""
        if channel.epoch and channel.last:
            self._gap(channel, channel.last + 1, channel.last + 1)
        channel.epoch, channel.last = epoch, 0
        return True

    def _fill(self, channel: Channel) -> None:
        last = channel.last or 0
        try:
            past = past_of(self.hub.services, channel.name, offset=last, epoch=channel.epoch)
        except (TenureError, redis.RedisError) as error:
            # Nothing later may overtake the hole: it is tried again at the next ring or comparison.
            log.warning("ws.hole_not_filled", channel=channel.name, error_type=type(error).__name__)
            raise redis.ConnectionError("history is not available") from error
        if past.epoch != channel.epoch:
            self._new_life(channel, past.epoch)
            return
        if not past.complete:
            first = past.events[0][0] if past.events else past.top + 1
            self._gap(channel, last + 1, first - 1)
        for offset, event in past.events:
            if offset > (channel.last or 0):
                channel.last = offset
                frame = event_frame(channel.name, offset, channel.epoch, event)
                self.hub.stats.events_out += channel.deliver(offset, channel.epoch, frame)
        channel.last = max(channel.last or 0, past.top)

    def _gap(self, channel: Channel, first: int, last: int) -> None:
        self.hub.stats.gaps += 1
        log.warning("ws.gap", channel=channel.name, first=first, last=last)
        channel.broadcast(frames.message("gap", {"channel": channel.name, "from": first, "to": last}))

    def compare(self) -> None:
        """Fill whatever this node missed without noticing."""
        known = [channel for channel in self.hub.channels.values() if channel.last is not None]
        for channel in known:
            if channel.is_broad:
                top, epoch = top_of(self.hub.services, channel.name)
                if epoch and epoch != channel.epoch:
                    self._new_life(channel, epoch)
                if epoch and top > (channel.last or 0):
                    self._fill(channel)
        self._compare_objects([channel for channel in known if not channel.is_broad])

    def _compare_objects(self, channels: list[Channel]) -> None:
        if not channels:
            return
        names = [channel.name for channel in channels]
        try:
            with self.hub.services.db.transaction() as session:
                tops = {row.channel: row.top for row in session.execute(_TOPS, {"names": names})}
        except TenureError as error:
            log.warning("ws.objects_not_compared", error_type=type(error).__name__)
            return
        for channel in channels:
            if tops.get(channel.name, 0) > (channel.last or 0) and channel.epoch == OBJECT_EPOCH:
                self._fill(channel)
