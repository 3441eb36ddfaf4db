"""The two doors to PostgreSQL.

`Database.transaction()` is the only commit of the ORM. `StatementDoor.run()` sends one autocommit statement
over a raw connection: the ledger and the leases use it, because it costs a fraction of the pool's CPU.
While a transaction is open in this context, the network's door (`kit.http`) refuses to open.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import dict_row
from sqlalchemy import Engine, create_engine
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from tenure.errors import BadSettings, BrokenRule, Unavailable
from tenure.kit import clock
from tenure.kit.prepared import PreparedStatement

_transaction_open: ContextVar[bool] = ContextVar("transaction_open", default=False)

# A silent network must not hold anybody for long: dead peers are found by keepalives (about 15 s) and by
# unacknowledged data (10 s), see tcp(7) TCP_USER_TIMEOUT.
_SOCKET_OPTIONS: Final[dict[str, int]] = {
    "connect_timeout": 5,
    "keepalives": 1,
    "keepalives_idle": 5,
    "keepalives_interval": 5,
    "keepalives_count": 2,
    "tcp_user_timeout": 10_000,
}
_CLIENT_LIVES_MS: Final = 2000
# A connection that was idle this long is asked for a sign of life before it is trusted with a statement.
_TRUST_IDLE_S: Final = 15.0


def in_transaction() -> bool:
    """Whether a transaction is open in this context (thread or greenlet)."""
    return _transaction_open.get()


def conninfo(
    url: str,
    *,
    application: str,
    statement_timeout_s: float = 30,
    lock_timeout_s: float = 5,
    idle_in_transaction_s: float = 10,
) -> str:
    """The connection string with the bounds that every connection of ours has."""
    bounds = {
        "statement_timeout": int(statement_timeout_s * 1000),
        "lock_timeout": int(lock_timeout_s * 1000),
        "idle_in_transaction_session_timeout": int(idle_in_transaction_s * 1000),
        # What a killed client asked for is ended; otherwise the server would look only when it is done.
        "client_connection_check_interval": _CLIENT_LIVES_MS,
        "timezone": "UTC",
    }
    options = " ".join(f"-c {name}={value}" for name, value in bounds.items())
    return make_conninfo(url, application_name=application, options=options, **_SOCKET_OPTIONS)


class Database:
    """A bounded pool of connections and the one way to commit through it."""

    def __init__(
        self, url: str, *, pool_size: int, application: str, statement_timeout_s: float = 30
    ) -> None:
        """Connect lazily: nothing is opened before the first transaction."""
        self.url = url
        info = conninfo(url, application=application, statement_timeout_s=statement_timeout_s)
        self.engine: Engine = create_engine(
            "postgresql+psycopg://",
            creator=lambda: psycopg.connect(info),
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=5,
            pool_pre_ping=True,  # a pool hands out dead connections otherwise
            pool_recycle=1800,
        )

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """Commit when the block ends, roll back when it raises. Transactions do not nest.

        Raises Unavailable when PostgreSQL cannot be reached, gives no connection in time, or ran into one
        of its time limits. After a lost COMMIT answer the outcome is unknown: callers repeat by key.
        """
        if _transaction_open.get():
            raise BrokenRule("a transaction is already open here: pass the session instead")
        token = _transaction_open.set(True)
        try:
            with Session(self.engine, expire_on_commit=False) as session, session.begin():
                yield session
        except (OperationalError, InterfaceError, PoolTimeout) as error:
            raise _unavailable(error) from error
        finally:
            _transaction_open.reset(token)

    @contextmanager
    def statements(self) -> Iterator[psycopg.Connection[Any]]:
        """One of the pool's connections where each statement is a transaction of its own.

        Raises Unavailable as `transaction()` does; a connection that failed is not used again.
        """
        if _transaction_open.get():
            raise BrokenRule("a statement of its own inside an open transaction would not see its writes")
        try:
            lent = self.engine.raw_connection()
        except (psycopg.OperationalError, OperationalError, InterfaceError, PoolTimeout) as error:
            raise _unavailable(error) from error
        connection: psycopg.Connection[Any] = lent.driver_connection  # type: ignore[assignment]
        try:
            connection.autocommit = True
            yield connection
            connection.autocommit = False
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            lent.invalidate()
            raise _unavailable(error) from error
        except BaseException:  # a time limit as well: the connection may be in the midst of an exchange
            lent.invalidate()
            raise
        finally:
            lent.close()

    def wait_for(self, channel: str, seconds: float) -> None:
        """Return when somebody notifies the channel, or after this long. Holds a connection meanwhile."""
        with self.statements() as connection:
            connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
            for _ in connection.notifies(timeout=seconds, stop_after=1):
                pass

    def close(self) -> None:
        """Close every idle connection."""
        self.engine.dispose()


class StatementDoor:
    """One raw autocommit connection: one statement is one transaction.

    Safe to share between threads (calls take turns). A connection that broke is replaced at the next call;
    a statement is never repeated on its own, because a lost answer may mean that it was done.
    """

    def __init__(
        self, url: str, *, application: str, statement_timeout_s: float = 3, lock_timeout_s: float = 2
    ) -> None:
        """Connect lazily, at the first statement."""
        self._info = conninfo(
            url,
            application=application,
            statement_timeout_s=statement_timeout_s,
            lock_timeout_s=lock_timeout_s,
        )
        self._connection: psycopg.Connection[dict[str, Any]] | None = None
        self._prepared: dict[str, PreparedStatement] = {}
        self._last_used = 0.0
        self._lock = threading.Lock()

    def run(
        self, sql: str, parameters: Mapping[str, Any] | Sequence[Any] | None = None
    ) -> list[dict[str, Any]]:
        """Run one statement and return its rows. Raises Unavailable when PostgreSQL cannot answer."""

        def send(connection: psycopg.Connection[dict[str, Any]]) -> list[dict[str, Any]]:
            cursor = connection.execute(sql.encode(), parameters)
            # Whether there are rows: `description` would say it too, but describes every column first.
            return cursor.fetchall() if cursor.pgresult and cursor.pgresult.nfields else []

        return self._exchange(send)

    def run_prepared(self, sql: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The same for a statement that is run all the time, which spares this process a cursor.

        `sql` is a constant, its parameters are written `%(name)s`.
        """

        def send(connection: psycopg.Connection[dict[str, Any]]) -> list[dict[str, Any]]:
            statement = self._prepared.get(sql)
            if statement is None:
                statement = PreparedStatement(connection, sql, f"tenure_{len(self._prepared)}")
                self._prepared[sql] = statement
            return statement.run(parameters)

        return self._exchange(send)

    def close(self) -> None:
        """Close the connection; the next statement opens a new one."""
        with self._lock:
            self._drop()

    def _exchange(
        self, send: Callable[[psycopg.Connection[dict[str, Any]]], list[dict[str, Any]]]
    ) -> list[dict[str, Any]]:
        if in_transaction():
            raise BrokenRule("a statement of its own inside an open transaction would not see its writes")
        with self._lock:
            try:
                rows = send(self._trusted_connection())
                self._last_used = clock.monotonic()
            except (psycopg.OperationalError, psycopg.InterfaceError) as error:
                self._drop()
                raise _unavailable(error) from error
            except BaseException:
                # A time limit or a shutdown struck in the middle: the connection is in an unknown state.
                self._drop()
                raise
            return rows

    def _trusted_connection(self) -> psycopg.Connection[dict[str, Any]]:
        connection = self._connection
        if connection is not None and not connection.closed:
            if clock.monotonic() - self._last_used < _TRUST_IDLE_S:
                return connection
            try:
                connection.execute(b"SELECT 1")
            except psycopg.OperationalError:
                self._drop()
            else:
                return connection
        self._prepared.clear()  # they were the old connection's
        self._connection = psycopg.connect(self._info, autocommit=True, row_factory=dict_row)
        return self._connection

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


class PooledDoor(StatementDoor):
    """The same door over a pool that is there anyway: a process of few connections needs no further one."""

    def __init__(self, db: Database) -> None:
        """The pool's owner closes it."""
        self._db = db

    def run(
        self, sql: str, parameters: Mapping[str, Any] | Sequence[Any] | None = None
    ) -> list[dict[str, Any]]:
        with self._db.statements() as connection, connection.cursor(row_factory=dict_row) as cursor:
            cursor.execute(sql.encode(), parameters)
            return cursor.fetchall() if cursor.description else []

    def run_prepared(self, sql: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
        return self.run(sql, parameters)

    def close(self) -> None:
        """Nothing of its own is open."""


_TRIES: Final = 3
_PROBE_S: Final = 3
_BETWEEN_TRIES_S: Final = 0.5


def answers(url: str) -> bool:
    """Whether PostgreSQL takes a new connection and a query now."""
    try:
        info = conninfo(url, application="tenure-probe", statement_timeout_s=_PROBE_S)
        with psycopg.connect(info, connect_timeout=_PROBE_S, autocommit=True) as connection:
            return connection.execute("SELECT 1").fetchone() is not None
    except psycopg.Error:
        return False


def check_reachable(url: str) -> None:
    """Return when PostgreSQL accepts this URL; else say in a sentence that helps what is wrong.

    Raises Unavailable after three tries, because a server may be starting. Raises BadSettings at once for
    wrong credentials and wrong names; a wrong database name is answered with the names that exist.
    """
    info = conninfo(url, application="tenure-check")
    for attempt in range(_TRIES):
        try:
            psycopg.connect(info).close()
        except psycopg.OperationalError as error:
            final = _final_reason(url, error)
            if final is not None:
                raise BadSettings(final) from error
            if attempt == _TRIES - 1:
                raise Unavailable(f"no PostgreSQL answers at {_place(url)}") from error
            time.sleep(_BETWEEN_TRIES_S * 2**attempt)
        else:
            return


def _final_reason(url: str, error: psycopg.OperationalError) -> str | None:
    said = str(error)
    refusals = ("password authentication failed", "no password supplied", "no pg_hba.conf entry", 'role "')
    if any(refusal in said for refusal in refusals):
        return f"PostgreSQL at {_place(url)} refuses the user or the password"
    if "does not exist" in said and "database" in said:
        name = conninfo_to_dict(url).get("dbname")
        return f"the database {name!r} does not exist at {_place(url)}; found: {_names(url)}"
    return None


def _names(url: str) -> str:
    try:
        with psycopg.connect(make_conninfo(url, dbname="postgres", connect_timeout=5)) as connection:
            rows = connection.execute("SELECT datname FROM pg_database WHERE NOT datistemplate ORDER BY 1")
            return ", ".join(name for (name,) in rows)
    except psycopg.OperationalError:
        return "(they cannot be listed)"


def _place(url: str) -> str:
    parts = conninfo_to_dict(url)
    return f"{parts.get('host', 'localhost')}:{parts.get('port', 5432)}"


def _unavailable(error: Exception) -> Unavailable:
    # The driver's text may hold SQL with parameters: only its class and SQLSTATE go further.
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    state = getattr(cause, "sqlstate", None)
    detail = f"{type(cause).__name__}" + (f", SQLSTATE {state}" if state else "")
    return Unavailable(f"the database cannot answer now ({detail})", reason=type(cause).__name__)
