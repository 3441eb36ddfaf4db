"""The budget of database connections: what all processes of an install may hold at once.

Pools are per process, so that each looks harmless alone. What is counted is what `tenure up` and the compose
file start; whoever starts more processes adds theirs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import psycopg

from tenure.errors import BadSettings, Unavailable
from tenure.kit.db import conninfo
from tenure.settings import Settings

RESERVED: Final = 5  # for a superuser, a backup, and whoever looks what is wrong
_COMMANDS: Final = 5


@dataclass(frozen=True, slots=True)
class Share:
    """What one kind of process may hold."""

    role: str
    processes: int
    each: int

    @property
    def total(self) -> int:
        return self.processes * self.each

    def as_dict(self) -> dict[str, Any]:
        return {"role": self.role, "processes": self.processes, "each": self.each, "total": self.total}


def shares(settings: Settings) -> tuple[Share, ...]:
    """Every kind of process of the install and its connections at most."""
    return (
        Share("web", 1, settings.db_pool_max_size + 1),  # the pool, and one for runs on request
        Share("worker parents", 2, 2),  # the lease has its own
        Share("worker children", 4, 3),  # two for the job, one for the ledger
        Share("beat", 1, 2),
        Share("relay", 1, 2),
        Share("exporter", 1, 2),
        Share("commands", 1, _COMMANDS),
    )


def allowed_by(database_url: str) -> int:
    """The server's `max_connections`. Raises Unavailable."""
    try:
        with psycopg.connect(conninfo(database_url, application="tenure-budget")) as connection:
            row = connection.execute("SHOW max_connections").fetchone()
    except psycopg.OperationalError as error:
        raise Unavailable("PostgreSQL does not say how many connections it allows") from error
    assert row is not None  # noqa: S101 - SHOW gives one row
    return int(row[0])


def check(settings: Settings, max_connections: int) -> int:
    """What all may hold together. Raises BadSettings with the table when the server does not allow it."""
    wanted = shares(settings)
    total = sum(share.total for share in wanted)
    if total > max_connections - RESERVED:
        raise BadSettings(
            f"the processes may want {total} database connections, the server leaves "
            f"{max_connections - RESERVED} (max_connections {max_connections} less {RESERVED}):\n"
            + _table(wanted)
            + "\nlower TENURE_DB_POOL_MAX_SIZE or raise max_connections"
        )
    return total


def _table(rows: Iterable[Share]) -> str:
    return "\n".join(
        f"  {share.role:<16} {share.processes:>2} x {share.each:>4} = {share.total:>5}" for share in rows
    )
