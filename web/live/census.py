"""How many connections a user or an address has, over all nodes: a hash in Valkey for each, by node.

A node writes only its own share, and counts the shares of nodes that are alive. It asks before it lets
somebody in, so that two nodes at once do not let in more than the limit; that somebody left is told soon
afterwards. When Valkey is away a node goes by its own share: limits are not worth an outage. What could not
be written is written when Valkey is back, and everything anew when Valkey forgot it.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import redis

from tenure.kit.logging import get_logger

if TYPE_CHECKING:
    from web.live.driver import Driver

log = get_logger("web.live")
_OPEN: Final = "tenure:ws:open:"
_ALIVE: Final = "tenure:ws:alive:"
_ALIVE_S: Final = 15
_KEEP_S: Final = 86_400
_SOON_S: Final = 0.05
_SLICE: Final = 500
# With a call every five seconds: everything is written anew long before it would expire.
_ALL_ANEW_EVERY: Final = 2000
# KEYS: the subject's hash. ARGV: this node, its share, the limit, the prefix of signs of life, two expiries.
_ENTER: Final = """
local me, mine, limit = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local forgotten = redis.call('EXISTS', ARGV[4] .. me) == 0
redis.call('SET', ARGV[4] .. me, 1, 'EX', ARGV[5])
local total = mine
local shares = redis.call('HGETALL', KEYS[1])
for i = 1, #shares, 2 do
  if shares[i] ~= me then
    if redis.call('EXISTS', ARGV[4] .. shares[i]) == 1 then
      total = total + tonumber(shares[i + 1])
    else
      redis.call('HDEL', KEYS[1], shares[i])
    end
  end
end
if total > limit then return {0, forgotten and 1 or 0} end
redis.call('HSET', KEYS[1], me, mine)
redis.call('EXPIRE', KEYS[1], ARGV[6])
return {1, forgotten and 1 or 0}
"""


class Census:
    """The shares of this node. Used from one event loop."""

    def __init__(self, live: redis.Redis, node: str, driver: Driver) -> None:
        """Nobody is counted yet."""
        self._driver = driver
        self._live = live
        self._node = node
        self._script = live.register_script(_ENTER)
        self._changed: set[str] = set()
        self._writing = False
        self._kept = 0
        self.shares: Counter[str] = Counter()

    def enter(self, subject: str, limit: int) -> bool:
        """Count one more of this subject, unless there are `limit` over all nodes; 0 is no limit."""
        if limit and self.shares[subject] >= limit:
            return False
        self.shares[subject] += 1
        mine = self.shares[subject]
        if not limit:
            return True
        try:
            said: Any = self._script(
                keys=[_key(subject)], args=[self._node, mine, limit, _ALIVE, _ALIVE_S, _KEEP_S]
            )
        except redis.RedisError as error:
            log.warning("ws.census_unavailable", error_type=type(error).__name__)
            self._changed.add(subject)
            return True
        if said[1]:
            self._changed.update(self.shares)
            self._tell(subject)
        if not said[0]:
            self.leave(subject)
            return False
        if self.shares[subject] != mine:
            self._tell(subject)  # others came or went meanwhile, and may have been written before this
        return True

    def leave(self, subject: str) -> None:
        """Count one less."""
        self.shares[subject] -= 1
        if self.shares[subject] <= 0:
            del self.shares[subject]
        self._tell(subject)

    def keep(self) -> None:
        """Show that this node is alive, and write what is not written yet. Raises redis.RedisError."""
        self._kept += 1
        before = self._live.set(_ALIVE + self._node, 1, ex=_ALIVE_S, get=True)
        if before is None or self._kept % _ALL_ANEW_EVERY == 0:
            self._changed.update(self.shares)
        self._write()

    def forget(self) -> None:
        """This node is gone in order: its shares count no more. Raises redis.RedisError."""
        self._live.delete(_ALIVE + self._node)

    def _tell(self, subject: str) -> None:
        self._changed.add(subject)
        if not self._writing:
            self._writing = True
            self._driver.spawn_later(_SOON_S, self._write_soon)

    def _write_soon(self) -> None:
        try:
            self._write()
        except redis.RedisError as error:
            # keep() tries again with the next sign of life.
            log.warning("ws.census_unavailable", error_type=type(error).__name__)
        finally:
            self._writing = False

    def _write(self) -> None:
        while self._changed:
            some = [self._changed.pop() for _ in range(min(_SLICE, len(self._changed)))]
            try:
                with self._live.pipeline(transaction=False) as pipe:
                    for subject in some:
                        # As it is at this moment: who came or went since is written too.
                        if subject in self.shares:
                            pipe.hset(_key(subject), self._node, self.shares[subject])
                            pipe.expire(_key(subject), _KEEP_S)
                        else:
                            pipe.hdel(_key(subject), self._node)
                    pipe.execute()
            except redis.RedisError:
                self._changed.update(some)
                raise


def _key(subject: str) -> str:
    return _OPEN + hashlib.sha256(subject.encode()).hexdigest()[:32]
