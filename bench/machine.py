"""What every benchmark prints first, and the throw-away servers they share."""

from __future__ import annotations

import os
import platform
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import psycopg

from tenure.cli.database import run_migrations
from tenure.embedded import postgres, valkey


def describe() -> str:
    """Machine and versions in a few words."""
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    packages = ", ".join(f"{name} {version(name)}" for name in ("celery", "kombu", "redis", "psycopg"))
    return (
        f"machine: {os.cpu_count()} cores, {model}, {platform.system()} {platform.release()}, "
        f"{load_now()}\nversions: Python {platform.python_version()}, {packages}"
    )


def load_now() -> str:
    """How much else the machine did while a benchmark ran: figures of a busy machine say little."""
    return f"load {os.getloadavg()[0]:.1f}"


@dataclass(frozen=True, slots=True)
class Servers:
    """Where the throw-away PostgreSQL and Valkey answer."""

    database_url: str
    broker_url: str
    live_url: str
    folder: Path

    def environment(self) -> dict[str, str]:
        """What makes a process use them."""
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith("TENURE_")},
            "TENURE_DATABASE_URL": self.database_url,
            "TENURE_BROKER_URL": self.broker_url,
            "TENURE_LIVE_URL": self.live_url,
            "TENURE_DATA_DIR": str(self.folder / "data"),
        }


@contextmanager
def servers() -> Iterator[Servers]:
    """Real servers with the schema at head, for the block's time. PostgreSQL runs without fsync."""
    with tempfile.TemporaryDirectory(prefix="tenure-bench-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        database, broker = postgres.new_throw_away(folder), valkey.new_throw_away(folder / "valkey")
        with (
            postgres.running(database, log=folder / "postgres.log"),
            valkey.running(broker, log=folder / "valkey.log"),
        ):
            with psycopg.connect(database.url("postgres"), autocommit=True) as connection:
                connection.execute("CREATE DATABASE bench")
            url = database.url("bench")
            run_migrations(url)
            yield Servers(url, broker.url(1), broker.url(2), folder)
