"""One supervised role: its process, its log, its state, and when it is started again."""

from __future__ import annotations

import contextlib
import signal
import subprocess
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Final

from tenure.embedded import process
from tenure.embedded.logfile import LogFile, pump
from tenure.embedded.roles import Backoff, RoleSpec, RoleState, RoleStatus
from tenure.embedded.vitals import Vitals
from tenure.errors import TenureError, Unavailable
from tenure.kit import clock

_PROBE_EVERY_S: Final = 0.15
_HARD_STOP_S: Final = 5.0
# What waits for another service is tried again soon.
_WAITING_S: Final = 5.0


class Child:
    """A role under supervision. Every method returns at once; call from the supervisor's thread only."""

    def __init__(self, spec: RoleSpec, log: LogFile, probes: Executor, groups: Callable[[str], None]) -> None:
        """`groups` is told `+PID` and `-PID` of each process group that begins and ends."""
        self.spec = spec
        self.log = log
        self.state = RoleState.WAITING
        self.restarts = 0
        self.failures = 0  # ends before ever having been ready
        self.reason: str | None = None
        self._complaint: str | None = None
        self._vitals: Vitals | None = None
        self._probes = probes
        self._groups = groups
        self._backoff = Backoff()
        self._process: subprocess.Popen[bytes] | None = None
        self._identity: process.Identity | None = None
        self._began = 0.0
        self._ready_at: float | None = None
        self._next_at = 0.0  # of the next start, or the next probe
        self._probe: Future[bool] | None = None
        self._stop_steps: list[tuple[signal.Signals, float]] = []
        self._stop_until = 0.0

    @property
    def status(self) -> RoleStatus:
        identity = self._identity
        return RoleStatus(
            name=self.spec.name,
            pid=identity.pid if identity else None,
            started=identity.started if identity else None,
            state=self.state,
            restarts=self.restarts,
            reason=self.reason,
        )

    @property
    def gone(self) -> bool:
        """Whether there is no process now."""
        return self._process is None

    def start(self) -> None:
        """Start the process; it is ready later. A failure to start counts as an end."""
        self._began = clock.monotonic()
        self._ready_at = None
        self._probe = None
        try:
            if self.spec.prepare:
                self.spec.prepare()
            self._process = process.start(
                self.spec.command,
                env=self.spec.env,
                cwd=self.spec.cwd,
                output=subprocess.PIPE,
                account=self.spec.account,
                death_signal=self.spec.hard_stop,
                inherited_sockets=self.spec.inherited_sockets,
            )
        except (TenureError, OSError) as error:
            self.failures += 1
            self.reason = f"not started: {error}"
            self.log.event("error", "role.not_started", reason=str(error))
            self._plan_restart()
            return
        self._vitals = Vitals(self.spec, self._process.pid, self._probes)
        self._complaint = None
        self._groups(f"+{self._process.pid}")
        self._identity = process.Identity.of(self._process.pid)
        output = self._process.stdout
        assert output is not None  # noqa: S101 - PIPE was asked for
        pump(output, self.log)
        self.state = RoleState.STARTING
        self.log.event("info", "role.started", pid=self._process.pid, restarts=self.restarts)

    def tick(self) -> None:
        """Take note of what happened since the last call, and do what is due."""
        if self._process is not None and self._process.poll() is not None:
            self._ended(self._process.returncode)
        elif self._complaint is not None and self.state is not RoleState.STOPPING:
            self._replace_harder()
        elif self.state in {RoleState.STARTING, RoleState.READY} and self._must_be_replaced():
            return
        elif self.state is RoleState.STARTING:
            self._ask_whether_ready()
        elif self.state is RoleState.RESTARTING and clock.monotonic() >= self._next_at:
            self.restarts += 1
            self.start()
        elif self.state is RoleState.STOPPING and clock.monotonic() >= self._stop_until:
            self._stop_harder()

    def begin_stop(self) -> None:
        """Ask the process to end; ticks make the request harder. Nothing is started any more."""
        if self._process is None:
            self.state = RoleState.STOPPED
            return
        self.state = RoleState.STOPPING
        self._stop_steps = list(self.spec.stop)
        self._stop_harder()

    def kill(self) -> None:
        """End it without asking."""
        if self._process is not None:
            self.state = RoleState.STOPPING
            self._stop_steps = []
            self._stop_until = clock.monotonic() + 2
            process.signal_group(self._process.pid, self.spec.hard_stop)

    def _must_be_replaced(self) -> bool:
        """Whether something is wrong with the running process; then it has been told to end."""
        if self._vitals is None or self._process is None:
            return False
        self._complaint = self._vitals.complaint(is_ready=self.state is RoleState.READY)
        if self._complaint is None:
            return False
        self.log.event("error", "role.replaced", reason=self._complaint, pid=self._process.pid)
        process.signal_group(self._process.pid, self.spec.hard_stop)
        if self.spec.hard_stop is not signal.SIGKILL:
            process.signal_group(self._process.pid, signal.SIGCONT)  # or it would not hear of it
        self._stop_until = clock.monotonic() + _HARD_STOP_S
        return True

    def _replace_harder(self) -> None:
        if self._process is not None and clock.monotonic() >= self._stop_until:
            process.signal_group(self._process.pid, signal.SIGKILL)

    def _ask_whether_ready(self) -> None:
        now = clock.monotonic()
        if now - self._began > self.spec.ready_within_s:
            self.log.event("error", "role.not_ready", after_s=round(now - self._began, 1))
            self._complaint = f"not ready within {self.spec.ready_within_s:g} s"
            self._began = now
            if self._process is not None:  # its end is followed by a restart
                process.signal_group(self._process.pid, signal.SIGKILL)
            return
        if self._probe is None:
            if now >= self._next_at and self._process is not None:
                self._probe = self._probes.submit(self.spec.ready, self._process.pid)
            return
        if self._probe.done():
            probe, self._probe = self._probe, None
            self._next_at = now + _PROBE_EVERY_S
            if error := probe.exception():
                self.log.event("warning", "role.probe_failed", reason=f"{type(error).__name__}: {error}")
            elif probe.result():
                self.state = RoleState.READY
                self._ready_at = now
                self.log.event("info", "role.ready", after_s=round(now - self._began, 2))

    def _ended(self, code: int) -> None:
        assert self._process is not None  # noqa: S101 - only called with a process
        process.signal_group(self._process.pid, signal.SIGKILL)  # what it may have left
        self._groups(f"-{self._process.pid}")
        self._process = None
        self._identity = None
        if self.state is RoleState.STOPPING:
            self.state = RoleState.STOPPED
            self.log.event("info", "role.stopped", code=code)
            return
        if self.state is not RoleState.READY:
            self.failures += 1
        self.reason = self._complaint or _how_it_ended(code)
        self._complaint = None
        self.log.event("error", "role.ended", code=code, signal=_signal_name(code), reason=self.reason)
        if code == Unavailable.exit_code:
            self._plan_restart(longest_s=_WAITING_S)
        else:
            self._plan_restart()

    def _plan_restart(self, **limit: float) -> None:
        now = clock.monotonic()
        ready_s = None if self._ready_at is None else now - self._ready_at
        pause = self._backoff.after_run(ready_s, **limit)
        self.state = RoleState.RESTARTING
        self._next_at = now + pause
        self.log.event("info", "role.restart_planned", in_s=round(pause, 2), reason=self.reason)

    def _stop_harder(self) -> None:
        if self._process is None:
            return
        now = clock.monotonic()
        if not self._stop_steps:
            self.log.event("warning", "role.killed", reason="it did not stop in time")
            process.signal_group(self._process.pid, signal.SIGKILL)
            self._stop_until = now + 5
            return
        signum, seconds = self._stop_steps.pop(0)
        self._stop_until = now + seconds
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signum)


def _signal_name(code: int) -> str | None:
    return signal.Signals(-code).name if code < 0 else None


def _how_it_ended(code: int) -> str:
    name = _signal_name(code)
    return f"ended by {name}" if name else f"ended with code {code}"
