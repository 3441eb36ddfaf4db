"""A real PostgreSQL of our own: one cluster in one folder, on loopback, with passwords.

The functions here make the cluster, tell the command that serves it, and tell whether it answers; who keeps
the process alive is the supervisor's (or the test session's) business.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

import psutil
import psycopg
from psycopg import sql

from tenure.embedded import binaries, ports, process
from tenure.errors import Unavailable

OWNER: Final = "tenure"
DATABASE: Final = "tenure"
_SUPERUSER: Final = "postgres"
_INITDB_S: Final = 120
MAX_CONNECTIONS: Final = 200
_LEFTOVER_S: Final = 20
# In memory only: no durability whatever, for tests.
THROW_AWAY: Final = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


@dataclass(frozen=True, slots=True)
class Postgres:
    """One cluster: where it lies, where it listens, and its two passwords."""

    data: Path
    port: int
    superuser_password: str
    password: str
    options: tuple[tuple[str, str], ...] = ()

    def url(self, database: str = DATABASE) -> str:
        """The address for the application's own role."""
        return f"postgresql://{OWNER}:{quote(self.password)}@127.0.0.1:{self.port}/{database}"

    @property
    def superuser_url(self) -> str:
        return f"postgresql://{_SUPERUSER}:{quote(self.superuser_password)}@127.0.0.1:{self.port}/postgres"

    def command(self) -> list[str]:
        """What serves the cluster in the foreground."""
        programs = binaries.postgres_programs(process.service_account())
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            # A socket's path may be too long for the system, and nobody needs it.
            "unix_socket_directories": "",
            "max_connections": str(MAX_CONNECTIONS),
            "log_timezone": "UTC",
            "timezone": "UTC",
            "log_line_prefix": "",
            **dict(self.options),
        }
        pairs = [f"{name}={value}" for name, value in settings.items()]
        return [
            str(programs / "postgres"),
            "-D",
            str(self.data),
            *(a for pair in pairs for a in ("-c", pair)),
        ]

    def prepare(self) -> None:
        """Make the cluster when there is none, and clear what a killed server left. Safe to repeat.

        A cluster is made beside its place and moved there whole, so a half-made one is never mistaken.
        """
        self.data.parent.mkdir(parents=True, exist_ok=True)
        for leftover in self.data.parent.glob(f"{self.data.name}.new-*"):
            shutil.rmtree(leftover)
        if (self.data / "PG_VERSION").exists():
            clear_leftover_server(self.data)
        else:
            _make_cluster(self)

    def ready(self) -> bool:
        """Whether it answers a query, with the application's role and database in place."""
        try:
            with psycopg.connect(self.superuser_url, connect_timeout=2, autocommit=True) as connection:
                _make_owner(connection, self.password)
        except psycopg.OperationalError:
            return False
        return True


def clear_leftover_server(data: Path) -> None:
    """After this, no server runs on the folder and no stale lock file keeps a new one out."""
    lock = data / "postmaster.pid"
    try:
        pid = int(lock.read_text(encoding="utf-8").split("\n", 1)[0])
    except (FileNotFoundError, ValueError):
        lock.unlink(missing_ok=True)
        return
    server = _server_on(data, pid)
    if server is None:
        lock.unlink(missing_ok=True)
        return
    for signum in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):  # fast, immediate, last resort
        with contextlib.suppress(psutil.NoSuchProcess):
            server.send_signal(signum)
        with contextlib.suppress(psutil.TimeoutExpired):
            server.wait(_LEFTOVER_S)
            break
    lock.unlink(missing_ok=True)


def _server_on(data: Path, pid: int) -> psutil.Process | None:
    """The process, when it is a PostgreSQL that serves this very folder."""
    try:
        server = psutil.Process(pid)
        serves = server.name() == "postgres" and str(data) in server.cmdline()
        return server if serves and server.status() != psutil.STATUS_ZOMBIE else None
    except psutil.NoSuchProcess:
        return None


def _make_cluster(server: Postgres) -> None:
    account = process.service_account()
    place = server.data.parent
    if account and not binaries.can_enter(place, account):
        raise Unavailable(f"{place} cannot be entered by the user that PostgreSQL runs as")
    staging = Path(tempfile.mkdtemp(prefix=f"{server.data.name}.new-", dir=place))
    password = staging / "password"
    password.touch(0o600)
    password.write_text(server.superuser_password, encoding="utf-8")
    if account:
        for path in (staging, password):
            os.chown(path, account.uid, account.gid)
    programs = binaries.postgres_programs(account)
    cluster = staging / "cluster"
    command = [
        *(str(programs / "initdb"), "-D", str(cluster), "-U", _SUPERUSER, f"--pwfile={password}"),
        *("--auth=scram-sha-256", "--encoding=UTF8", "--locale=C"),
        *("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--no-instructions"),
    ]
    if dict(server.options).get("fsync") == "off":
        command.append("--no-sync")
    made = process.start(command, env=environment(), cwd=staging, output=subprocess.PIPE, account=account)
    try:
        output, _ = made.communicate(timeout=_INITDB_S)
    except subprocess.TimeoutExpired:
        process.stop(made, signum=signal.SIGKILL)
        raise Unavailable(f"initdb took more than {_INITDB_S} s") from None
    if made.returncode != 0:
        raise Unavailable(f"initdb failed: {output.decode(errors='replace').strip()[-600:]}")
    if server.data.exists():  # without PG_VERSION it is no cluster, and an empty one may be replaced
        server.data.rmdir()
    cluster.rename(server.data)
    shutil.rmtree(staging)


def _make_owner(connection: psycopg.Connection[tuple[object, ...]], password: str) -> None:
    """The application's role owns its database and may make others, and is no superuser."""
    if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [OWNER]).fetchone():
        connection.execute(
            sql.SQL("CREATE ROLE {} LOGIN CREATEDB PASSWORD {}").format(
                sql.Identifier(OWNER), sql.Literal(password)
            )
        )
    if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone():
        connection.execute(
            sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(DATABASE), sql.Identifier(OWNER))
        )


def environment() -> dict[str, str]:
    """What a server needs of ours: nothing secret."""
    return {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}


def new_throw_away(folder: Path, *, options: Sequence[tuple[str, str]] = ()) -> Postgres:
    """A cluster for tests below the folder: quick, and worth nothing after a power cut."""
    return Postgres(
        data=folder / "postgres",
        port=ports.any_free(),
        superuser_password=secrets.token_urlsafe(24),
        password=secrets.token_urlsafe(24),
        options=(*THROW_AWAY.items(), *options),
    )


@contextlib.contextmanager
def running(server: Postgres, *, log: Path, within_s: float = 30.0) -> Iterator[Postgres]:
    """The server, made, started and answering; stopped afterwards. For use without a supervisor."""
    server.prepare()
    with log.open("ab") as output:
        child = process.start(
            server.command(),
            env=environment(),
            cwd=Path("/"),
            output=output,
            account=process.service_account(),
            death_signal=signal.SIGQUIT,
        )
    try:
        deadline = time.monotonic() + within_s
        while not server.ready():
            if child.poll() is not None or time.monotonic() > deadline:
                tail = log.read_text(encoding="utf-8", errors="replace")[-600:]
                raise Unavailable(f"PostgreSQL did not start: {tail}")
            time.sleep(0.05)
        yield server
    finally:
        process.stop(child, signum=signal.SIGINT, within_s=20)
