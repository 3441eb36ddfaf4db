"""Servers of a test's own that may be killed, emptied, frozen and brought back."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil

from tenure.embedded import ports, process
from tenure.embedded import postgres as embedded_postgres
from tenure.embedded.valkey import Valkey
from tests.support import services
from tests.support.waiting import until


class BreakableValkey:
    """A broker with an append-only file. Its address stays the same whatever is done to it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._server = Valkey.broker(folder / "broker", ports.any_free(), secrets.token_urlsafe(12))
        self._log = folder / "broker.log"
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return self._server.url(0)

    def start(self) -> None:
        """It runs and answers."""
        self._server.prepare()
        with self._log.open("ab") as output:
            self._child = process.start(
                self._server.command(), env={"LC_ALL": "C"}, cwd=self._server.folder, output=output
            )
        until(self._server.ready, 30, what="the broker answers")

    def kill(self) -> None:
        """SIGKILL; nothing listens any more."""
        assert self._child is not None
        self._child.kill()
        self._child.wait(10)
        assert not self._server.ready()

    def forget(self) -> None:
        """What it had on disk is gone."""
        shutil.rmtree(self._server.folder)

    def keys(self) -> int:
        """How many keys it holds."""
        with contextlib.closing(self._server.connect()) as client:
            found: int = client.dbsize()
            return found

    def freeze(self) -> None:
        """It keeps its connections and answers nobody."""
        assert self._child is not None
        self._child.send_signal(signal.SIGSTOP)
        until(lambda: psutil.Process(self.pid).status() == psutil.STATUS_STOPPED, what="it is frozen")

    def thaw(self) -> None:
        """It goes on where it was."""
        assert self._child is not None
        self._child.send_signal(signal.SIGCONT)

    @property
    def pid(self) -> int:
        assert self._child is not None
        return self._child.pid

    def stop(self) -> None:
        """It is gone."""
        if self._child is not None and self._child.poll() is None:
            self.thaw()
            process.stop(self._child)


@contextlib.contextmanager
def breakable_valkey(folder: Path) -> Iterator[BreakableValkey]:
    """A running one."""
    server = BreakableValkey(folder)
    server.start()
    try:
        yield server
    finally:
        server.stop()


class BreakablePostgres:
    """A migrated database in a cluster of its own."""

    def __init__(self, folder: Path) -> None:
        self._server = embedded_postgres.new_throw_away(folder)
        self._log = folder / "postgres.log"
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return self._server.url()

    def start(self) -> None:
        """It runs and answers."""
        self._server.prepare()
        with self._log.open("ab") as output:
            self._child = process.start(
                self._server.command(),
                env=embedded_postgres.environment(),
                cwd=Path("/"),
                output=output,
                account=process.service_account(),
                death_signal=signal.SIGQUIT,
            )
        until(self._server.ready, 60, what="PostgreSQL answers")

    def freeze(self) -> None:
        """Nobody in it does anything: connections stand, and get no answer."""
        postmaster = self._family()[0]
        postmaster.send_signal(signal.SIGSTOP)  # first: from here on nobody is born
        until(lambda: _stands(postmaster), what="the postmaster is frozen")
        self._tell_all(signal.SIGSTOP)
        until(lambda: all(map(_stands, self._family())), what="all of it is frozen")

    def thaw(self) -> None:
        """All of it goes on where it was."""
        self._tell_all(signal.SIGCONT)

    def stop(self, signum: signal.Signals = signal.SIGINT) -> None:
        """It is gone; `start()` brings it back with what was committed."""
        if self._child is not None and self._child.poll() is None:
            self.thaw()
            process.stop(self._child, signum=signum, within_s=20)

    def _family(self) -> list[psutil.Process]:
        assert self._child is not None
        postmaster = psutil.Process(self._child.pid)
        return [postmaster, *postmaster.children(recursive=True)]

    def _tell_all(self, signum: signal.Signals) -> None:
        for each in self._family():
            with contextlib.suppress(psutil.NoSuchProcess):
                each.send_signal(signum)


def _stands(process_: psutil.Process) -> bool:
    """Whether it does nothing any more: it is stopped, or has ended meanwhile."""
    try:
        return process_.status() in {psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE}
    except psutil.NoSuchProcess:
        return True


@contextlib.contextmanager
def breakable_postgres() -> Iterator[BreakablePostgres]:
    """A running one, migrated."""
    with services.session_folder() as folder:
        server = BreakablePostgres(folder)
        server.start()
        try:
            services.migrate(server.url)
            yield server
        finally:
            server.stop()
