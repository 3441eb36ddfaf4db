"""A node: one process that runs or schedules iterations, alive while it renews its lease.

Two threads. The lease thread only renews, over its own raw connection, and logs nothing: whatever else
hangs, it must not. The repair thread does the rest of the house-keeping (see `repair.py`).
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from psycopg.types.json import Jsonb

from tenure import __version__
from tenure.errors import Unavailable
from tenure.kit import clock
from tenure.kit.db import StatementDoor
from tenure.kit.ids import new_id

# A lease of few seconds is no reason to give up on a server that is busy.
_SHORTEST_RENEWAL_S: Final = 2.0
_RENEWALS_PER_LEASE: Final = 3

_REGISTER: Final = """
INSERT INTO node (id, role, name, host, pid, version, lease_until, info)
VALUES (%(id)s, %(role)s, %(name)s, %(host)s, %(pid)s, %(version)s,
        clock_timestamp() + make_interval(secs => %(lease_s)s), %(info)s)
ON CONFLICT (id) DO UPDATE SET lease_until = excluded.lease_until,
    -- A lease that had run out begins anew: this node, too, was without PostgreSQL.
    leased_since = CASE WHEN node.lease_until < clock_timestamp() THEN clock_timestamp()
                        ELSE node.leased_since END
"""


@dataclass(slots=True)
class Node:
    """This process's identity in the ledger and its lease."""

    role: str
    name: str
    database_url: str
    lease_s: float
    info: dict[str, Any] = field(default_factory=dict)
    id: str = field(default_factory=lambda: new_id("nod"))
    had_database_since: float | None = None
    on_renewed: Callable[[], None] = lambda: None
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)
    _door: StatementDoor | None = None

    def register(self) -> None:
        """Make the node known. Raises Unavailable: a process that cannot say that it lives must not work."""
        self._door = StatementDoor(
            self.database_url,
            application=f"tenure-{self.role}-lease",
            statement_timeout_s=max(self.lease_s / _RENEWALS_PER_LEASE, _SHORTEST_RENEWAL_S),
        )
        self._renew()

    def start(self, repair: Callable[[Node], None] | None = None, *, repair_every_s: float = 1.0) -> None:
        """Renew the lease until `stop()`; call `repair` in a thread of its own."""
        self._thread("lease", self._keep_lease)
        if repair is not None:
            self._thread("repair", lambda: self._keep_repairing(repair, repair_every_s))

    def stop(self) -> None:
        """Leave: what this node still has open is nobody's any more, and may be called lost at once."""
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=2)
        if self._door is None:
            return
        try:
            self._door.run("UPDATE node SET stopped_at = clock_timestamp() WHERE id = %s", [self.id])
        except Unavailable:
            return  # the lease runs out by itself
        finally:
            self._door.close()

    @property
    def may_judge(self) -> bool:
        """Whether this node has had PostgreSQL for a whole lease, and so may call others lost."""
        since = self.had_database_since
        return since is not None and clock.monotonic() - since > self.lease_s

    def _thread(self, name: str, target: Callable[[], None]) -> None:
        thread = threading.Thread(target=target, name=f"tenure-{name}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _keep_lease(self) -> None:
        while not self._stop.wait(self.lease_s / _RENEWALS_PER_LEASE):
            try:
                self._renew()
            except Unavailable:
                self.had_database_since = None

    def _renew(self) -> None:
        assert self._door is not None  # noqa: S101 - register() comes first
        self._door.run(
            _REGISTER,
            {
                "id": self.id,
                "role": self.role,
                "name": self.name,
                "host": socket.gethostname(),
                "pid": os.getpid(),
                "version": __version__,
                "lease_s": self.lease_s,
                "info": Jsonb(self.info),
            },
        )
        if self.had_database_since is None:
            self.had_database_since = clock.monotonic()
        self.on_renewed()

    def _keep_repairing(self, repair: Callable[[Node], None], every_s: float) -> None:
        while not self._stop.wait(every_s):
            repair(self)
