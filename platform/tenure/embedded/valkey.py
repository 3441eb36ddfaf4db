"""A real Valkey of our own: on loopback, with a password, as the broker or as the live layer's store.

The broker keeps an append-only file and never throws data away; the live store keeps nothing on disk and
drops what was used least when its memory is full.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self
from urllib.parse import quote

import redis

from tenure.embedded import binaries, ports, process
from tenure.errors import Unavailable

_BROKER: Final = (
    "appendonly yes",
    "appendfsync everysec",
    "maxmemory-policy noeviction",
)
_LIVE: Final = (
    "appendonly no",
    "maxmemory 256mb",
    "maxmemory-policy allkeys-lru",
)


@dataclass(frozen=True, slots=True)
class Valkey:
    """One server: its folder, its port, its password and what it is for."""

    folder: Path
    port: int
    password: str
    purpose: tuple[str, ...]

    @classmethod
    def broker(cls, folder: Path, port: int, password: str) -> Self:
        return cls(folder, port, password, _BROKER)

    @classmethod
    def live(cls, folder: Path, port: int, password: str) -> Self:
        return cls(folder, port, password, _LIVE)

    def url(self, number: int = 0) -> str:
        """The address of one of its databases."""
        return f"redis://:{quote(self.password)}@127.0.0.1:{self.port}/{number}"

    @property
    def _configuration(self) -> Path:
        return self.folder / "valkey.conf"

    def prepare(self) -> None:
        """Write its configuration, readable by us alone: the password stands there, not in the command."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lines = [
            "bind 127.0.0.1",
            f"port {self.port}",
            f"dir {_quoted(str(self.folder))}",
            f"requirepass {_quoted(self.password)}",
            "daemonize no",
            'save ""',
            'logfile ""',
            *self.purpose,
        ]
        draft = self._configuration.with_suffix(".new")
        draft.unlink(missing_ok=True)
        draft.touch(0o600)
        draft.write_text("\n".join(lines) + "\n", encoding="utf-8")
        draft.replace(self._configuration)

    def command(self) -> list[str]:
        """What serves it in the foreground."""
        return [str(binaries.valkey_program()), str(self._configuration)]

    def ready(self) -> bool:
        """Whether it answers, with its data loaded."""
        try:
            with contextlib.closing(self.connect()) as client:
                return bool(client.ping())
        except (redis.ConnectionError, redis.TimeoutError):  # still loading is a ConnectionError too
            return False

    def connect(self, number: int = 0) -> redis.Redis:
        """A client that gives up soon."""
        return redis.Redis.from_url(
            self.url(number), socket_timeout=2, socket_connect_timeout=2, decode_responses=True, retry=None
        )


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def new_throw_away(folder: Path) -> Valkey:
    """A server for tests below the folder, which keeps nothing."""
    return Valkey.live(folder, ports.any_free(), secrets.token_urlsafe(24))


@contextlib.contextmanager
def running(server: Valkey, *, log: Path, within_s: float = 15.0) -> Iterator[Valkey]:
    """The server, started and answering; stopped afterwards. For use without a supervisor."""
    server.prepare()
    with log.open("ab") as output:
        child = process.start(server.command(), env={"LC_ALL": "C"}, cwd=server.folder, output=output)
    try:
        deadline = time.monotonic() + within_s
        while not server.ready():
            if child.poll() is not None or time.monotonic() > deadline:
                tail = log.read_text(encoding="utf-8", errors="replace")[-600:]
                raise Unavailable(f"Valkey did not start: {tail}")
            time.sleep(0.02)
        yield server
    finally:
        process.stop(child)
