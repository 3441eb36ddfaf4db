"""Starting a stack: in this process, or as a daemon whose start is watched until it is ready."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final

import click

from tenure import settings as settings_module
from tenure.cli.stack_view import ConsoleView, Failure, PipeView, Ready, View, as_failure, relay_line
from tenure.embedded import stack as stacks
from tenure.embedded.folder import StackFolder
from tenure.embedded.roles import RoleState, RoleStatus
from tenure.embedded.supervisor import Interrupted, Supervisor
from tenure.errors import TenureError
from tenure.kit.logging import configure_logging, mask_in_logs
from tenure.settings import Settings

_INTERRUPTED: Final = 130
_UNAVAILABLE: Final = 3
_TAIL_LINES: Final = 12
_END_S: Final = 60


@dataclass(frozen=True, slots=True)
class UpOptions:
    """How a stack is to be started; `demo` None means: as the environment's kind suggests."""

    host: str
    port: int
    data_dir: Path
    demo: bool | None

    def arguments(self) -> list[str]:
        """The same options as words of the command."""
        words = ["--host", self.host, "--port", str(self.port), "--data-dir", str(self.data_dir)]
        if self.demo is not None:
            words.append("--demo" if self.demo else "--no-demo")
        return words


class _Served:
    """One stack run by this process from start to stop."""

    def __init__(self, options: UpOptions, folder: StackFolder, view: View) -> None:
        self._options = options
        self._folder = folder
        self._view = view
        self._booted = False
        self._signal: int | None = None
        self._listener: socket.socket | None = None

    def run(self) -> int:
        """Start, watch, stop. Returns the exit code; nothing is left running."""
        settings = settings_module.load(data_dir=self._folder.path)
        mask_in_logs(settings.secrets())
        with Supervisor(self._folder.logs, self._report) as supervisor:

            def on_signal(signum: int, _frame: FrameType | None) -> None:
                self._signal = self._signal or signum
                supervisor.request_stop()

            for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(signum, on_signal)
            try:
                self._boot(supervisor, settings)
                supervisor.watch()
            except Interrupted:
                self._view.failed(Failure(_INTERRUPTED, "stopped before it was ready"))
                return _INTERRUPTED
            self._view.note("stopping")
        return _INTERRUPTED if self._signal == signal.SIGINT else 0

    def _boot(self, supervisor: Supervisor, settings: Settings) -> None:
        demo = not settings.is_production if self._options.demo is None else self._options.demo
        additions = _demo_world(settings, self._view) if demo else stacks.Additions()
        plan = stacks.build(
            settings,
            self._folder,
            host=self._options.host,
            port=self._options.port,
            additions=additions,
        )
        # The socket is open as long as somebody holds it, and a restarted web process inherits it again.
        self._listener = plan.listener
        mask_in_logs(plan.secrets)
        self._folder.write_stack(plan.document)
        for note in plan.notes:
            self._view.note(note)
        supervisor.boot(plan.phases)
        self._booted = True
        login = _first_login(plan.database_url)  # last, because its password is shown only now
        self._report(supervisor.statuses)
        urls: dict[str, str] = plan.document["urls"]
        self._view.ready(Ready(plan.url, urls, str(self._folder.logs), login))

    def _report(self, roles: Sequence[RoleStatus]) -> None:
        ready = self._booted and all(role.state is RoleState.READY for role in roles)
        self._folder.write_state(roles, ready=ready)
        self._view.roles([role.as_dict() for role in roles])


def _demo_world(settings: Settings, view: View) -> stacks.Additions:
    from tenure.demo.stack import additions

    return additions(settings, view.note)


def _first_login(database_url: str) -> tuple[str, str] | None:
    # Imported here: the command that only waits for a daemon is quicker without.
    from tenure.accounts.users import ensure_first_admin
    from tenure.kit.db import Database

    with closing(Database(database_url, pool_size=1, application="tenure-up")) as db:
        return ensure_first_admin(db)


def serve(options: UpOptions, view: View) -> int:
    """Run the stack in this process until it is told to stop. Every failure is told to the view."""
    configure_logging(role="supervisor", level="WARNING")
    folder = StackFolder(options.data_dir)
    try:
        folder.acquire()
        try:
            return _Served(options, folder, view).run()
        finally:
            folder.release()
    except TenureError as error:
        view.failed(as_failure(error))
        return error.exit_code


def serve_reporting_to(options: UpOptions, descriptor: int) -> int:
    """`serve` for a daemon: its start is told through the pipe."""
    os.set_inheritable(descriptor, False)  # noqa: FBT003 - positional only; the roles must not hold it open
    return serve(options, PipeView(descriptor))


def launch(options: UpOptions) -> int:
    """Start the stack as a daemon and watch until it is ready. Returns the exit code.

    When it does not become ready, or this command is interrupted, the daemon is ended with all that it began.
    """
    folder = StackFolder(options.data_dir)
    folder.make()
    errors = folder.logs / "supervisor.err"
    reader, writer = os.pipe()
    with errors.open("ab") as output:
        daemon = subprocess.Popen(  # noqa: S603 - this very program
            [sys.executable, "-m", "tenure", "up", *options.arguments(), "--report-to", str(writer)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=(writer,),
        )
    os.close(writer)
    view = ConsoleView()
    try:
        last = _follow(reader, view)
    except KeyboardInterrupt:
        daemon.terminate()
        daemon.wait(_END_S)
        click.echo("interrupted; the stack was stopped", err=True)
        return _INTERRUPTED
    if isinstance(last, Ready):
        daemon.returncode = 0  # it goes on without us; nobody waits for it here
        return 0
    if last is None:
        tail = errors.read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL_LINES:]
        view.failed(Failure(_UNAVAILABLE, "the supervisor ended before it was ready", tail))
    daemon.wait(_END_S)
    return last.exit_code if last else _UNAVAILABLE


def _follow(reader: int, view: View) -> Ready | Failure | None:
    with os.fdopen(reader, encoding="utf-8") as lines:
        for line in lines:
            try:
                last = relay_line(line, view)
            except json.JSONDecodeError:  # cut short: the supervisor ended while it spoke
                return None
            if last:
                return last
    return None
