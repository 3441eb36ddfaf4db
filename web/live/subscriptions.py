"""Subscribing: join first, read history then, so that nothing falls between the two."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import redis

from tenure.errors import Invalid, NotFound, TenureError
from tenure.kit import clock
from web.live import frames, messages
from web.live.channels import Channel, Joining, event_frame, is_channel
from web.live.connection import LONGEST_WAIT_S
from web.live.history import Past, past_of, top_of

if TYPE_CHECKING:
    from web.live.connection import Connection
    from web.live.hub import Hub

_MOST_NAMES: Final = 200
_LARGEST_OFFSET: Final = 2**62
# A long history goes out in portions of about this size, each when the peer has taken the one before.
_PORTION: Final = 65_536
_STEP_S: Final = 0.01


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a command answers, and what follows its answer."""

    result: Mapping[str, Any]
    duplicate: bool = False
    afterwards: Callable[[], None] | None = None


@dataclass(frozen=True, slots=True)
class Position:
    """Where a client that comes back was."""

    offset: int
    epoch: str


def subscribe(hub: Hub, connection: Connection, document: Mapping[str, Any]) -> Outcome:
    """Join the channels; what happened behind each `since` follows the answer.

    All or nothing: on any error the connection listens to what it did before.
    """
    names, since = _names(document), _since(document)
    unknown = [name for name in names if not is_channel(name)]
    if unknown:
        raise NotFound(f"there is no channel {unknown[0][:60]!r}")
    limit = hub.limits.ws_channels
    if limit and len(connection.channels | set(names)) > limit:
        raise Invalid(f"at most {limit} channels a connection", code="too_many_channels")
    fresh = [name for name in names if name not in connection.channels]
    again = [name for name in names if name in since and name not in fresh]
    for name in again:
        hub.leave(connection, name)
    for name in (*fresh, *again):
        _join(hub, connection, name)
    try:
        pasts = {name: _past(hub, name, since.get(name)) for name in names}
    except (TenureError, redis.RedisError):
        for name in (*fresh, *again):
            hub.leave(connection, name)
        raise
    return Outcome(
        {"channels": {name: {"offset": past.top, "epoch": past.epoch} for name, past in pasts.items()}},
        afterwards=lambda: _complete(hub, connection, pasts, since),
    )


def _complete(
    hub: Hub, connection: Connection, pasts: Mapping[str, Past], since: Mapping[str, Position]
) -> None:
    deadline = clock.monotonic() + LONGEST_WAIT_S
    for name, past in pasts.items():
        for offset, event in past.events:
            connection.send(event_frame(name, offset, past.epoch, event))
            if connection.waiting_bytes > _PORTION:
                _await_taken(hub, connection, deadline)
        hub.stats.events_out += len(past.events)
        channel = hub.channels.get(name)
        if channel is None or connection.gone or connection.closing_since:
            continue
        if name in since:
            fields: messages.Recovered = {
                "channel": name,
                "complete": past.complete,
                "offset": past.top,
                "epoch": past.epoch,
            }
            connection.send(frames.message("recovered", fields))
        hub.stats.events_out += channel.joined(connection, upto=past.top, epoch=past.epoch)


def _await_taken(hub: Hub, connection: Connection, deadline: float) -> None:
    """Return when the peer has taken what waits for it, or is gone; by the deadline it is cut."""
    while connection.waiting_bytes and not (connection.gone or connection.closing_since):
        if clock.monotonic() > deadline:
            connection.cut()
            return
        hub.driver.sleep(_STEP_S)


def _join(hub: Hub, connection: Connection, name: str) -> None:
    channel = hub.channels.setdefault(name, Channel(name))
    channel.joining[connection] = Joining()
    connection.channels.add(name)


def _past(hub: Hub, name: str, since: Position | None) -> Past:
    if since is None:
        top, epoch = top_of(hub.services, name)
        return Past([], top, epoch, complete=True)
    past = past_of(hub.services, name, offset=since.offset, epoch=since.epoch)
    # Half a history would look whole to the client: without its beginning it refetches instead.
    return past if past.complete else Past([], past.top, past.epoch, complete=False)


def _names(document: Mapping[str, Any]) -> list[str]:
    names = document.get("channels")
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise Invalid("channels must be a list of names")
    if len(names) > _MOST_NAMES:
        raise Invalid("too many channels at once", code="too_many_channels")
    return list(dict.fromkeys(names))


def _since(document: Mapping[str, Any]) -> dict[str, Position]:
    given = document.get("since")
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise Invalid("since must map channels to {offset, epoch}")
    found = {}
    for name, position in given.items():
        offset = position.get("offset") if isinstance(position, dict) else None
        epoch = position.get("epoch") if isinstance(position, dict) else None
        if not isinstance(offset, int) or isinstance(offset, bool) or not isinstance(epoch, str):
            raise Invalid("since must map channels to {offset, epoch}")
        if not 0 <= offset <= _LARGEST_OFFSET:
            raise Invalid("an offset is out of range")
        found[name] = Position(offset, epoch)
    return found
