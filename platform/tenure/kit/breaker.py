"""Circuit breakers whose state all processes share: one hash in Valkey each, changed by one Lua script.

A breaker opens when, within a minute, at least five calls failed and at least half of all calls did. After
thirty seconds one call is let through as a probe, and its outcome closes the breaker or opens it anew. Valkey
alone decides, by its own clock, so that two processes never probe at once. The same script keeps the budget
of retries: while they fail, at most a tenth of the calls of ten seconds (and at least ten) are retries; one
that succeeds costs nothing, so that the way back from an outage is not slowed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import redis

from tenure.kit.sockets import Unsent

PREFIX: Final = "tenure:breaker:"
FAILURES: Final = 5
WINDOW_S: Final = 60
REST_S: Final = 30
# Longer than any one call: a probe whose process died is given up after this.
PROBE_S: Final = 30
BUDGET_WINDOW_S: Final = 10
BUDGET_FLOOR: Final = 10
BUDGET_SHARE: Final = 0.1
_KEEP_S: Final = 7 * 86_400

# KEYS: the hash. ARGV: what happens, whether it is a retry, the ticket, then the figures above.
_SCRIPT: Final = """
local key, act, retry, ticket = KEYS[1], ARGV[1], ARGV[2] == '1', ARGV[3]
local failures, window = tonumber(ARGV[4]), tonumber(ARGV[5])
local rest, probe = tonumber(ARGV[6]), tonumber(ARGV[7])
local budget_s, floor, share = tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10])
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local function number(field) return tonumber(redis.call('HGET', key, field) or '0') end
local function keep() redis.call('EXPIRE', key, ARGV[11]) end
local opened = redis.call('HGET', key, 'opened_at')

local function budget_window()
  local current = tostring(math.floor(now / budget_s))
  if redis.call('HGET', key, 'budget') ~= current then
    redis.call('HSET', key, 'budget', current, 'calls', 0, 'retries', 0)
  end
end

if act == 'ask' then
  if opened then
    local wait = tonumber(opened) + rest - now
    local probing = number('probe_until') - now
    if wait > 0 or probing > 0 then
      redis.call('HINCRBY', key, 'refused', 1)
      keep()
      return {'open', tostring(math.max(wait, probing))}
    end
    local number_ = redis.call('HINCRBY', key, 'probes', 1)
    redis.call('HSET', key, 'probe_until', tostring(now + probe), 'probe', number_)
    keep()
    return {'probe', tostring(number_)}
  end
  budget_window()
  if retry and number('retries') >= math.max(floor, share * number('calls')) then
    redis.call('HINCRBY', key, 'over_budget', 1)
    keep()
    return {'budget', tostring(budget_s - now % budget_s)}
  end
  redis.call('HINCRBY', key, 'calls', 1)
  if retry then redis.call('HINCRBY', key, 'retries', 1) end
  keep()
  return {'go', ''}
end

if opened then
  if ticket == '' or redis.call('HGET', key, 'probe') ~= ticket then return {'open', ''} end
  if act == 'ok' then
    for _, field in ipairs(redis.call('HKEYS', key)) do
      if string.sub(field, 1, 2) == 'b:' then redis.call('HDEL', key, field) end
    end
    redis.call('HDEL', key, 'opened_at', 'probe_until', 'probe', 'calls', 'retries', 'budget')
    return {'closed', ''}
  end
  redis.call('HDEL', key, 'probe', 'probe_until')
  if act == 'fail' then redis.call('HSET', key, 'opened_at', tostring(now)) end
  return {'open', ''}
end

if retry and act ~= 'fail' then
  budget_window()
  if number('retries') > 0 then redis.call('HINCRBY', key, 'retries', -1) end
end
if act == 'none' then return {'go', ''} end
local slice = math.floor(now / 10)
redis.call('HINCRBY', key, 'b:' .. slice .. (act == 'fail' and ':f' or ':k'), 1)
local failed, all = 0, 0
local fields = redis.call('HGETALL', key)
for i = 1, #fields, 2 do
  local at, kind = string.match(fields[i], '^b:(%d+):(%a)$')
  if at then
    if tonumber(at) <= slice - window / 10 then
      redis.call('HDEL', key, fields[i])
    else
      all = all + tonumber(fields[i + 1])
      if kind == 'f' then failed = failed + tonumber(fields[i + 1]) end
    end
  end
end
keep()
if act == 'fail' and failed >= failures and failed * 2 >= all then
  redis.call('HSET', key, 'opened_at', tostring(now))
  redis.call('HINCRBY', key, 'opens', 1)
  return {'opened', ''}
end
return {'go', ''}
"""


class State(StrEnum):
    """What a breaker does with calls."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Told(StrEnum):
    """How a call ended, as far as the other side's health goes. `NONE` says nothing about it."""

    OK = "ok"
    FAIL = "fail"
    NONE = "none"


HELD_REASONS: Final = ("circuit_open", "forced_open", "retry_budget")


class Held(Unsent):
    """The call was not made: the other side fails too much at present."""

    code = "held"

    def __init__(self, reason: str, name: str, retry_after_s: float) -> None:
        """`reason` is one of HELD_REASONS."""
        self.retry_after_s = retry_after_s
        super().__init__(reason, f"{name} is not called now ({reason})")


@dataclass(frozen=True, slots=True)
class Leave:
    """What a breaker said: go ahead (with a ticket if this is the probe), or not now."""

    go: bool
    ticket: str = ""
    reason: str = ""
    wait_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Seen:
    """A breaker as it stands. Counts are since its state was first kept; `wait_s` until the next probe."""

    state: State = State.CLOSED
    failures: int = 0
    wait_s: float = 0.0
    opens: int = 0
    refused: int = 0
    over_budget: int = 0
    unguarded: int = 0


class Breakers:
    """The breakers of an install, in the live Valkey. Every method may raise redis.RedisError."""

    def __init__(self, live: redis.Redis) -> None:
        """`live` should give up quickly: every outgoing call asks here first."""
        self._live = live
        self._script = live.register_script(_SCRIPT)

    def ask(self, name: str, *, retry: bool) -> Leave:
        """Whether a call may be made now."""
        word, detail = self._run(name, "ask", retry=retry)
        if word in {"go", "probe"}:
            return Leave(go=True, ticket=detail)
        reason = "circuit_open" if word == "open" else "retry_budget"
        return Leave(go=False, reason=reason, wait_s=max(float(detail), 0.0))

    def tell(self, name: str, told: Told, *, retry: bool, ticket: str) -> str:
        """Count how a call ended; `opened` or `closed` when this changed the state, else another word."""
        return self._run(name, told.value, retry=retry, ticket=ticket)[0]

    def count_unguarded(self, name: str, calls: int) -> None:
        """Add calls that were made without asking, because Valkey was away."""
        with self._live.pipeline(transaction=False) as pipe:
            pipe.hincrby(PREFIX + name, "unguarded", calls)
            pipe.expire(PREFIX + name, _KEEP_S)
            pipe.execute()

    def seen(self, names: Iterable[str]) -> Mapping[str, Seen]:
        """How these breakers stand; one that was never needed is closed."""
        wanted = list(names)
        with self._live.pipeline(transaction=False) as pipe:
            pipe.time()
            for name in wanted:
                pipe.hgetall(PREFIX + name)
            (seconds, micros), *hashes = pipe.execute()
        now = seconds + micros / 1_000_000
        return {name: _seen(given, now) for name, given in zip(wanted, hashes, strict=True)}

    def known(self) -> list[str]:
        """The names of all breakers that have a state."""
        found = self._live.scan_iter(match=f"{PREFIX}*", count=200)
        return sorted(str(key).removeprefix(PREFIX) for key in found)

    def _run(self, name: str, act: str, *, retry: bool, ticket: str = "") -> tuple[str, str]:
        figures = [FAILURES, WINDOW_S, REST_S, PROBE_S, BUDGET_WINDOW_S, BUDGET_FLOOR, BUDGET_SHARE, _KEEP_S]
        said: Any = self._script(keys=[PREFIX + name], args=[act, "1" if retry else "0", ticket, *figures])
        return str(said[0]), str(said[1])


def _seen(given: Mapping[str, str], now: float) -> Seen:
    oldest = int(now // 10) - WINDOW_S // 10
    failures = sum(
        int(value)
        for field, value in given.items()
        if field.startswith("b:") and field.endswith(":f") and int(field.split(":")[1]) > oldest
    )
    state, wait_s = State.CLOSED, 0.0
    if "opened_at" in given:
        wait_s = max(0.0, float(given["opened_at"]) + REST_S - now)
        state = State.OPEN if wait_s else State.HALF_OPEN
    counts = {name: int(given.get(name, 0)) for name in ("opens", "refused", "over_budget", "unguarded")}
    return Seen(state=state, failures=failures, wait_s=round(wait_s, 1), **counts)
