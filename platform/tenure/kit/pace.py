"""A pace that all processes keep together: so many acts a second in total, and for each receiver.

One Lua script in Valkey reserves a moment in both (a token bucket, kept as the time at which it will be full
again), so that two processes never take the same place.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Final

import redis

_PREFIX: Final = "tenure:pace:"
# KEYS: total, receiver. ARGV: seconds between two acts and burst of each, then the longest wait.
_SCRIPT: Final = """
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local wait, full = 0, {}
for i = 1, 2 do
  local between, burst = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
  full[i] = math.max(tonumber(redis.call('GET', KEYS[i]) or now), now)
  wait = math.max(wait, full[i] - (burst - 1) * between - now)
end
if wait > tonumber(ARGV[5]) then return {0, tostring(wait)} end
for i = 1, 2 do
  local value = full[i] + tonumber(ARGV[2 * i - 1])
  redis.call('SET', KEYS[i], string.format('%.6f', value), 'PX', math.ceil((value - now + 1) * 1000))
end
return {1, tostring(wait)}
"""


@dataclass(frozen=True, slots=True)
class Rate:
    """So many acts a second on average, and as many at once as `burst` says."""

    per_s: float
    burst: int = 1


@dataclass(frozen=True, slots=True)
class Place:
    """A place in the pace after `wait_s`; not `taken` when that is longer than one wanted to wait."""

    taken: bool
    wait_s: float


class Pace:
    """The pace towards one service."""

    def __init__(self, live: redis.Redis, name: str, *, total: Rate, each: Rate) -> None:
        """`name` is the service's; connects nowhere yet."""
        self._script = live.register_script(_SCRIPT)
        self._name = name
        self._rates = [1 / total.per_s, total.burst, 1 / each.per_s, each.burst]

    def reserve(self, receiver: str, *, longest_s: float) -> Place:
        """The next place for this receiver. Raises redis.RedisError."""
        whom = hashlib.sha256(receiver.encode()).hexdigest()[:24]
        keys = [f"{_PREFIX}{self._name}", f"{_PREFIX}{self._name}:{whom}"]
        said: Any = self._script(keys=keys, args=[*self._rates, longest_s])
        return Place(bool(said[0]), max(0.0, float(said[1])))
