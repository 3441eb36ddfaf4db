"""House-keeping of the ledger, in a thread of every worker parent and beat; safe to run anywhere at once.

It ends what nobody can end any more, publishes slots whose message may be lost, and skips what is past its
time. Everything is a compare-and-set, so it matters to nobody how many do it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from tenure.errors import Unavailable
from tenure.iterations import announce, ledger, slots
from tenure.iterations.ledger import Ended
from tenure.iterations.node import Node
from tenure.kit import crash
from tenure.kit.db import StatementDoor
from tenure.kit.logging import get_logger

_log = get_logger("tenure.repair")


class Repair:
    """One process's share of the house-keeping."""

    def __init__(
        self,
        door: StatementDoor,
        *,
        lease_s: float,
        publish: Callable[[StatementDoor], None],
        on_end: Callable[[Iterable[Ended]], None],
    ) -> None:
        """`publish` sends what `slots.claim_to_publish` gives; `on_end` hears of every END written here."""
        self._door = door
        self._lease_s = lease_s
        self._publish = publish
        self._on_end = on_end

    def __call__(self, node: Node) -> None:
        """One round. An outage of PostgreSQL ends the round; the next one goes on."""
        try:
            if node.may_judge:
                ended = ledger.reap(self._door, judge=node.id, lease_s=self._lease_s)
                if ended:
                    crash.point("repair.reaped", ended[0].job)
                for end in ended:
                    announce.ended(end)
                self._on_end(ended)
            for slot in slots.skip_stale(self._door):
                crash.point("repair.skipped", slot["job"])
                _log.warning("slot.skipped", **slot)
            self._publish(self._door)
        except Unavailable as error:
            _log.warning("repair.waiting", reason=error.extra.get("reason"))
