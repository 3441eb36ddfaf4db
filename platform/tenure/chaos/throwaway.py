"""A throw-away stack: `tenure up` as an operator runs it, in a folder of its own, gone after the block.

Everything else here speaks the public contract: commands, HTTP, the data directory's files. Its supervisor is
a child of this process and is told to stop by the kernel when this process dies, however it dies.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import quote

import psutil

from tenure.chaos.folder import data_of, own_folder, remove, sweep
from tenure.chaos.mount import small_disk
from tenure.chaos.outside import Outside, outside
from tenure.chaos.undisturbed import undisturbed
from tenure.embedded import ports, process
from tenure.embedded.folder import StackFolder
from tenure.embedded.stack import ROOT, inherited_environment
from tenure.errors import Unavailable
from tenure.kit import clock
from tenure.kit.http import Answer, Bounds, HttpDoor

# Every job far more often than in real life: a fault shall always find one at work.
QUICK: Final[Mapping[str, Mapping[str, float]]] = MappingProxyType(
    {
        "payment_watcher": {"every_s": 1},
        "activation": {"every_s": 1},
        "expiry": {"every_s": 1},
        "reminders": {"every_s": 2},
        "trial_notifications": {"every_s": 2},
        "auto_renewal": {"every_s": 5},
        "notices": {"every_s": 1},
        "webhooks": {"every_s": 1},
        "canary": {"every_s": 5},
        "alerting": {"every_s": 5},
        "verify": {"every_s": 3600},
        "retention": {"every_s": 3600},
    }
)
_NO_LIMITS: Final = {
    "ws_handshakes_per_min": 0,
    "ws_open_per_address": 0,
    "ws_open_per_user": 0,
    "ws_messages_per_s": 0,
    "login_per_min": 0,
    "api_per_min": 0,
    "run_per_min": 0,
}
# The settings of the fault, not of the machine: a node is missed after this.
_LEASE_S: Final = "5"
_READY: Final = re.compile(r"^READY (http://\S+)$", re.MULTILINE)
_UP_S: Final = 300.0
_DOWN_S: Final = 100.0
_STEP_S: Final = 0.1
_COMMAND_S: Final = 300.0
_BOUNDS: Final = Bounds(connect_s=3.0, read_s=10.0, total_s=12.0)


@dataclass(frozen=True, slots=True)
class Role:
    """One role as `status` shows it."""

    name: str
    pid: int | None
    state: str
    restarts: int


@dataclass(frozen=True, slots=True)
class Done:
    """A command that ended."""

    code: int
    stdout: str
    stderr: str

    def json(self) -> Any:
        """The one document that a `--json` command prints."""
        return json.loads(self.stdout)


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a throw-away stack is made with.

    `jobs` goes over QUICK and `env` over everything; `files` gives settings that are read from a file of the
    stack's folder: its name, and what it holds at first. `disk_mb` puts the folder on a small disk.
    `database_url` is for our own questions, when the stack was given the address of a proxy; by default it is
    the stack's own.
    """

    jobs: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    disk_mb: int | None = None
    database_url: str | None = None

    def environment(self, world: Outside) -> dict[str, str]:
        """The environment of the stack's commands: ours without its TENURE_* settings, then these."""
        ours = {name: at for name, at in inherited_environment().items() if not name.startswith("TENURE_")}
        return {
            **ours,
            "TENURE_ENV": "development",
            "TENURE_JOBS": json.dumps({**QUICK, **self.jobs}),
            "TENURE_LIMITS": json.dumps(_NO_LIMITS),
            "TENURE_NODE_LEASE_S": _LEASE_S,
            **world.settings(),
            **self.env,
        }


class Stack:
    """A running throw-away stack and every way into it. Safe to share between threads."""

    def __init__(self, folder: Path, recipe: Recipe, world: Outside) -> None:
        """Nothing runs before `start()`."""
        self.folder = folder
        self.data_dir = data_of(folder)
        self.outside = world
        self.url = ""
        self.key = ""
        self._recipe = recipe
        self._env = recipe.environment(world)
        for name, (file, content) in recipe.files.items():
            (folder / file).write_text(content, encoding="utf-8")
            self._env[name] = str(folder / file)
        self._port = ports.any_free()
        self._door = HttpDoor(allow_private=True, pool_size=32)
        self._supervisor: subprocess.Popen[bytes] | None = None

    # --- its life

    def start(self) -> None:
        """`tenure up`, until it says READY; then an administrator's API key. Call from the main thread.

        Raises Unavailable with the end of what it said when it does not become ready.
        """
        output = self.folder / "up.log"
        words = ["up", "--no-demo", "--port", str(self._port), "--data-dir", str(self.data_dir)]
        with output.open("wb") as file:
            self._supervisor = process.start(
                [sys.executable, "-m", "tenure", *words],
                env=self._env,
                cwd=ROOT,
                output=file,
                death_signal=signal.SIGTERM,
            )
        self.url = self._said_ready(output)
        if not self.key:
            made = self.command("apikey", "create", "chaos", "--role", "admin", "--json")
            self.key = made.json()["key"]

    def restart(self, env: Mapping[str, str | None] | None = None) -> None:
        """Stop in order and start again on the same data; `env` changes settings, None takes one out."""
        self.stop()
        for name, value in (env or {}).items():
            if value is None:
                self._env.pop(name, None)
            else:
                self._env[name] = value
        self.start()

    def stop(self, *, at_once: bool = False) -> int | None:
        """SIGTERM as `tenure down` sends it, and what is needed when that does not suffice.

        `at_once` asks twice, so that nothing is waited for. Returns the supervisor's exit code.
        """
        supervisor, self._supervisor = self._supervisor, None
        if supervisor is None:
            return None
        for role in self.roles().values():  # what a fault left frozen hears no SIGTERM
            if role.pid is not None:
                process.signal_group(role.pid, signal.SIGCONT)
        if at_once:
            supervisor.terminate()
            threading.Event().wait(_STEP_S)  # two signals at the same instant are one
        code = process.stop(supervisor, within_s=_DOWN_S)
        StackFolder(self.data_dir).sweep()
        return code

    def close(self) -> None:
        """Its connections are closed."""
        self._door.close()

    def _said_ready(self, output: Path) -> str:
        assert self._supervisor is not None  # noqa: S101 - it was just started
        deadline, pause = clock.monotonic() + _UP_S, threading.Event()
        while True:
            said = output.read_text(encoding="utf-8", errors="replace")
            found = _READY.search(said)
            if found is not None:
                return found[1]
            if self._supervisor.poll() is not None or clock.monotonic() > deadline:
                raise Unavailable(f"the throw-away stack does not start: {said.strip()[-1500:]}")
            pause.wait(_STEP_S)

    # --- the ways in

    def command(self, *words: str, within_s: float = _COMMAND_S) -> Done:
        """Run a `tenure` command against this stack. Raises Unavailable when it takes too long."""
        command = [sys.executable, "-m", "tenure", *words, "--data-dir", str(self.data_dir)]
        try:
            done = subprocess.run(  # noqa: S603 - our own program
                command,
                cwd=ROOT,
                env=self._env,
                capture_output=True,
                text=True,
                timeout=within_s,
                check=False,
                stdin=subprocess.DEVNULL,
            )
        except subprocess.TimeoutExpired:
            raise Unavailable(f"tenure {words[0]} took more than {within_s:.0f} s") from None
        return Done(done.returncode, done.stdout, done.stderr)

    def call(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request to `url + path`. Raises Unsent, Unanswered or ErrorAnswer, as the door does."""
        return self._door.request(
            method, self.url + path, body=body, json=json, headers=headers, bounds=_BOUNDS
        )

    def api(self, method: str, path: str, body: Any = None, *, key: str | None = None) -> Any:
        """The JSON that the API answers to the administrator; `key` is the Idempotency-Key."""
        headers = {"authorization": f"Bearer {self.key}"}
        if method == "POST":
            headers["idempotency-key"] = key or uuid.uuid4().hex
        answer = self.call(method, f"/api/v1{path}", json=body, headers=headers)
        return answer.json() if answer.body else None

    # --- what it is made of

    def roles(self) -> dict[str, Role]:
        """The roles as `tenure status --json` shows them, by name."""
        state = StackFolder(self.data_dir).read_state()
        return {
            role["name"]: Role(role["name"], role["pid"], role["state"], role["restarts"])
            for role in state.get("roles", [])
        }

    @property
    def ready(self) -> bool:
        """Whether every role is ready."""
        return bool(StackFolder(self.data_dir).read_state().get("ready"))

    def identity(self, role: str) -> process.Identity | None:
        """The process of the role that lives now."""
        pid = self.roles()[role].pid
        return process.Identity.of(pid) if pid else None

    def children(self, role: str) -> list[process.Identity]:
        """The processes below a role's: a worker's pool, PostgreSQL's backends, gunicorn's workers."""
        pid = self.roles()[role].pid
        try:
            below = psutil.Process(pid).children(recursive=True) if pid else []
        except psutil.NoSuchProcess:
            return []
        return [found for one in below if (found := process.Identity.of(one.pid)) is not None]

    @property
    def environment(self) -> Mapping[str, str]:
        """What the stack's commands and roles are told, with its addresses while it runs."""
        return {**self._env, **StackFolder(self.data_dir).read_stack().get("env", {})}

    @property
    def database_url(self) -> str:
        """PostgreSQL, for questions of our own."""
        return self._recipe.database_url or self.environment["TENURE_DATABASE_URL"]

    @property
    def superuser_url(self) -> str:
        """PostgreSQL for its administrator, when the stack runs its own."""
        # Only read: the folder's own way to them would write them, and the disk may be full.
        kept = json.loads((self.data_dir / "secrets.json").read_text(encoding="utf-8"))
        password, port = quote(kept["postgres_superuser"]), kept["ports"]["postgres"]
        return f"postgresql://postgres:{password}@127.0.0.1:{port}/tenure"

    @property
    def broker_url(self) -> str:
        return self.environment["TENURE_BROKER_URL"]

    @property
    def live_url(self) -> str:
        return self.environment["TENURE_LIVE_URL"]

    @property
    def crashes(self) -> list[dict[str, Any]]:
        """What the named crash points wrote down before each death, oldest first."""
        return _json_lines([self.data_dir / "crashes.jsonl"])

    def log_lines(self, *events: str) -> Iterator[dict[str, Any]]:
        """The log lines of these events over all roles."""
        wanted = tuple(f'"{event}"' for event in events)
        for line in self._log():
            if any(event in line for event in wanted):
                with suppress(ValueError):
                    entry = json.loads(line)
                    if entry.get("event") in events:
                        yield entry

    def said(self, *words: str) -> bool:
        """Whether a log line of any role has all these words."""
        return any(all(word in line for word in words) for line in self._log())

    def _log(self) -> Iterator[str]:
        for file in sorted((self.data_dir / "logs").glob("*.log*")):
            yield from file.read_text(encoding="utf-8", errors="replace").splitlines()


def _json_lines(files: Sequence[Path]) -> list[dict[str, Any]]:
    return [
        json.loads(line)
        for file in files
        if file.exists()
        for line in file.read_text(encoding="utf-8").splitlines()
    ]


@contextmanager
def stack(
    recipe: Recipe | None = None, *, keep: Path | None = None, note: Callable[[str], None] = lambda _: None
) -> Iterator[Stack]:
    """A running stack and its outside; nothing of it is left after the block, whatever ended the block.

    With `keep` its logs and the journals of the outside are copied there first. What a killed run left is
    removed before. Call from the main thread: a signal that comes while the stack is ended waits for that.
    """
    chosen, kept = recipe or Recipe(), ExitStack()
    for left in sweep():
        note(f"removed what a killed run left: {left}")
    try:
        folder = kept.enter_context(own_folder())
        if chosen.disk_mb is not None:
            kept.enter_context(small_disk(folder, megabytes=chosen.disk_mb))
        made = Stack(folder, chosen, kept.enter_context(outside()))
        kept.callback(_end, made, keep, note)
        note("starting a throw-away stack")
        made.start()
        yield made
    finally:
        with undisturbed():
            kept.close()


def _end(made: Stack, keep: Path | None, note: Callable[[str], None]) -> None:
    note("stopping the stack")
    try:
        made.stop(at_once=True)
        made.close()
        if keep is not None:
            _keep(made, keep)
    finally:
        remove(made.folder)  # while a disk of its own is still there: it says where the cluster lies


def _keep(made: Stack, keep: Path) -> None:
    made.outside.save(keep)
    shutil.copytree(made.data_dir / "logs", keep / "logs", dirs_exist_ok=True)
    crashes = made.data_dir / "crashes.jsonl"
    if crashes.exists():
        shutil.copy(crashes, keep)
