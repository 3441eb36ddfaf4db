"""The system's own PostgreSQL and Redis, as packages install them: the second way to run."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import psycopg
import redis
from psycopg import sql

from tenure.embedded import ports, postgres, process
from tests.support.waiting import until


def postgres_programs() -> Path | None:
    """The newest PostgreSQL of the system, where Debian puts it."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    return found[-1] if found and (found[-1] / "initdb").exists() else None


def redis_program() -> str | None:
    return shutil.which("redis-server") or shutil.which("valkey-server")


@contextlib.contextmanager
def running_postgres(folder: Path) -> Iterator[str]:
    """The URL of a new database in a new cluster of the system's PostgreSQL."""
    programs = postgres_programs()
    assert programs is not None
    account = process.service_account()
    place = folder / "system-postgres"
    place.mkdir(mode=0o700)
    if account:
        shutil.chown(place, account.uid, account.gid)
    data, port = place / "data", ports.any_free()
    command = [str(programs / "initdb"), "-D", str(data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "-N"]
    with (folder / "system-postgres.log").open("ab") as output:
        made = process.start(command, env=postgres.environment(), cwd=place, output=output, account=account)
        assert made.wait(60) == 0
        serve = [str(programs / "postgres"), "-D", str(data), "-p", str(port), "-F"]
        options = ["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]
        server = process.start(
            [*serve, *options], env=postgres.environment(), cwd=place, output=output, account=account
        )
    try:
        admin = f"postgresql://postgres@127.0.0.1:{port}/postgres"
        until(lambda: _answers(admin))
        with psycopg.connect(admin, autocommit=True) as connection:
            connection.execute("CREATE ROLE owner LOGIN PASSWORD 'system secret'")
            connection.execute(sql.SQL("CREATE DATABASE {} OWNER owner").format(sql.Identifier("beside")))
        yield f"postgresql://owner:system%20secret@127.0.0.1:{port}/beside"
    finally:
        process.stop(server, signum=signal.SIGINT)


@contextlib.contextmanager
def running_redis(folder: Path) -> Iterator[str]:
    """The URL of the system's Redis, with a password."""
    program = redis_program()
    assert program is not None
    port, password = ports.any_free(), secrets.token_urlsafe(12)
    place = folder / "system-redis"
    place.mkdir()
    (place / "redis.conf").write_text(f"port {port}\nbind 127.0.0.1\nrequirepass {password}\nsave ''\n")
    with (folder / "system-redis.log").open("ab") as output:
        server = process.start(
            [program, str(place / "redis.conf")], env={"PATH": "/usr/bin:/bin"}, cwd=place, output=output
        )
    url = f"redis://:{password}@127.0.0.1:{port}/0"
    try:
        with contextlib.closing(redis.Redis.from_url(url)) as client:
            until(lambda: _pongs(client))
        yield url
    finally:
        process.stop(server)


def _answers(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


def _pongs(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False
