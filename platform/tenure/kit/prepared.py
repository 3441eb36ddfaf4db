"""Statements that are always the same: prepared once on a connection and run through libpq, without a cursor.

A cursor of psycopg takes any query; converting, looking up and describing cost it more than the exchange with
the server. START and END are two texts for every run of every job. Values are still dumped and loaded by
psycopg, in text format; the types of the parameters are what the server infers when it prepares.
See https://www.postgresql.org/docs/current/libpq-exec.html#LIBPQ-PQPREPARE.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import psycopg
from psycopg.adapt import PyFormat, Transformer
from psycopg.generators import execute
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGresult

_PARAMETER: Final = re.compile(r"%\((\w+)\)s")
_WELL: Final = (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK)


class PreparedStatement:
    """One statement on one connection, which nobody else may use at the same time."""

    def __init__(self, connection: psycopg.Connection[Any], sql: str, name: str) -> None:
        """Prepare it under this name; its parameters are written `%(name)s`. Raises psycopg.Error."""
        self._connection = connection
        self._name = name.encode()
        self._parameters = list(dict.fromkeys(_PARAMETER.findall(sql)))
        positions = {parameter: f"${n}" for n, parameter in enumerate(self._parameters, 1)}
        self._formats = [PyFormat.TEXT] * len(positions)
        self._columns: list[str] | None = None
        numbered = _PARAMETER.sub(lambda found: positions[found[1]], sql)
        connection.pgconn.send_prepare(self._name, numbered.encode())
        self._take()

    def run(self, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Run it and return its rows. Raises psycopg.Error. Who is interrupted here drops the connection."""
        connection = self._connection
        transformer = Transformer(connection)
        values = [parameters[name] for name in self._parameters]
        connection.pgconn.send_query_prepared(self._name, transformer.dump_sequence(values, self._formats))
        result = self._take()
        if self._columns is None:
            self._columns = [(result.fname(n) or b"").decode() for n in range(result.nfields)]
        transformer.set_pgresult(result)
        return transformer.load_rows(0, result.ntuples, self._row)

    def _row(self, values: Sequence[Any]) -> dict[str, Any]:
        return dict(zip(self._columns or (), values, strict=True))

    def _take(self) -> PGresult:
        result: PGresult
        (result,) = self._connection.wait(execute(self._connection.pgconn))
        if result.status not in _WELL:
            raise psycopg.errors.error_from_result(result)
        return result
