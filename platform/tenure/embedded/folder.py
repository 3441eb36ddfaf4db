"""The data directory of one stack: its lock, its secrets, and the two files that others read.

    secret.key, secrets.json   made once, 0600
    stack.json                 while a stack runs, 0600: addresses with passwords, and `env` for commands
    state.json                 what the roles are doing, for `status`
    logs/<role>.log
    postgres/, valkey/, valkey-live/

The lock is the kernel's: it is free as soon as its holder is gone, however it went.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import psutil

from tenure.embedded import binaries, process
from tenure.embedded.roles import RoleStatus
from tenure.errors import Conflict
from tenure.settings import STACK_FILE

_SWEEP_S: Final = 10.0
# Where PostgreSQL's data goes when root's data directory cannot be entered by `nobody`.
_SYSTEM_STATE: Final = Path("/var/lib/tenure")


@dataclass(frozen=True, slots=True)
class StackSecrets:
    """Passwords of the embedded servers and of Flower, and the ports used last."""

    postgres_superuser: str
    postgres: str
    valkey: str
    valkey_live: str
    ports: Mapping[str, int]


class StackFolder:
    """Access to one data directory. Only the holder of the lock may write."""

    def __init__(self, path: Path) -> None:
        """Nothing is made or read yet."""
        self.path = path.absolute()
        self._lock: IO[str] | None = None

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def stack_file(self) -> Path:
        return self.path / STACK_FILE

    @property
    def state_file(self) -> Path:
        return self.path / "state.json"

    def make(self) -> None:
        """Make the directory; as root enterable by the user that PostgreSQL runs as, else by us alone."""
        self.path.mkdir(parents=True, exist_ok=True, mode=0o711 if process.service_account() else 0o700)
        self.logs.mkdir(exist_ok=True, mode=0o700)

    def acquire(self) -> None:
        """Become the one stack of this directory, and end what a killed one left. Raises Conflict."""
        self.make()
        lock = (self.path / "supervisor.lock").open("a+", encoding="utf-8")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.close()
            url = self.read_stack().get("url", "")
            raise Conflict(f"a stack already runs in {self.path}" + (f": {url}" if url else "")) from error
        self._lock = lock
        me = process.Identity.of(os.getpid())
        assert me is not None  # noqa: S101 - we are alive
        lock.truncate(0)
        json.dump({"pid": me.pid, "started": me.started}, lock)
        lock.flush()
        self.sweep()
        self.stack_file.unlink(missing_ok=True)
        self.state_file.unlink(missing_ok=True)

    def release(self) -> None:
        """Give the directory back; commands no longer find a stack here."""
        if self._lock is not None:
            self.stack_file.unlink(missing_ok=True)
            self._lock.close()
            self._lock = None

    def is_running(self) -> bool:
        """Whether a stack holds this directory."""
        try:
            lock = (self.path / "supervisor.lock").open("r+", encoding="utf-8")
        except FileNotFoundError:
            return False
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                return True
        return False

    def supervisor(self) -> process.Identity | None:
        """The process that holds the lock."""
        known = _read(self.path / "supervisor.lock")
        if not known:
            return None
        identity = process.Identity(known["pid"], known["started"])
        return identity if identity.alive else None

    def sweep(self) -> int:
        """End processes that a killed supervisor left. Returns how many there were.

        They are known by pid and start time, so a reused pid is never touched.
        """
        left = []
        for role in self.read_state().get("roles", []):
            if role.get("pid") and process.Identity(role["pid"], role["started"]).alive:
                left.append(psutil.Process(role["pid"]))
                process.signal_group(role["pid"], signal.SIGTERM)
        _, stubborn = psutil.wait_procs(left, timeout=_SWEEP_S)
        for survivor in stubborn:
            process.signal_group(survivor.pid, signal.SIGKILL)
        psutil.wait_procs(stubborn, timeout=_SWEEP_S)
        return len(left)

    def secrets(self) -> StackSecrets:
        """The passwords, made at the first call; ports as they were used last."""
        path = self.path / "secrets.json"
        known = _read(path)
        made = StackSecrets(
            postgres_superuser=known.get("postgres_superuser") or secrets.token_urlsafe(24),
            postgres=known.get("postgres") or secrets.token_urlsafe(24),
            valkey=known.get("valkey") or secrets.token_urlsafe(24),
            valkey_live=known.get("valkey_live") or secrets.token_urlsafe(24),
            ports=known.get("ports", {}),
        )
        self.keep_secrets(made)
        return made

    def keep_secrets(self, kept: StackSecrets) -> None:
        """Write them for the next start."""
        _write(
            self.path / "secrets.json",
            {
                "postgres_superuser": kept.postgres_superuser,
                "postgres": kept.postgres,
                "valkey": kept.valkey,
                "valkey_live": kept.valkey_live,
                "ports": dict(kept.ports),
            },
        )

    def postgres_data(self) -> Path:
        """Where the cluster lies: in here, unless root runs it as `nobody`, who cannot come in here."""
        account = process.service_account()
        if account is None or binaries.can_enter(self.path, account):
            return self.path / "postgres"
        pointer = self.path / "postgres.path"
        if not pointer.exists():  # a name of its own: whoever removes this directory starts anew
            place = _SYSTEM_STATE / secrets.token_hex(8) / "postgres"
            pointer.write_text(f"{place}\n", encoding="utf-8")
        return Path(pointer.read_text(encoding="utf-8").strip())

    def write_stack(self, document: Mapping[str, Any]) -> None:
        """Publish the running stack to commands."""
        _write(self.stack_file, document)

    def read_stack(self) -> dict[str, Any]:
        return _read(self.stack_file)

    def write_state(self, roles: Sequence[RoleStatus], *, ready: bool) -> None:
        """Publish what the roles are doing."""
        state = {"ready": ready, "supervisor": os.getpid(), "roles": [role.as_dict() for role in roles]}
        _write(self.state_file, state)

    def read_state(self) -> dict[str, Any]:
        return _read(self.state_file)


def _read(path: Path) -> dict[str, Any]:
    """The document, or an empty one when there is none (or it was cut short by a crash)."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _write(path: Path, document: Mapping[str, Any]) -> None:
    """Whole or not at all, readable by us alone."""
    draft = path.with_name(f".{path.name}.new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(document, file, indent=2)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
