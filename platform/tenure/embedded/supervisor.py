"""The supervisor: starts phases of roles, keeps them alive, and stops them in order.

It knows nothing of what the roles are. One thread starts and watches processes (the kernel ties their lives
to it); probes and log pipes have threads of their own, so that a silent server never holds the watch.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tenure.embedded import process
from tenure.embedded.child import Child
from tenure.embedded.logfile import LogFile, pump
from tenure.embedded.roles import Errand, Phase, RoleSpec, RoleState, RoleStatus, StopOrder
from tenure.errors import Unavailable
from tenure.kit import clock

_TICK_S: Final = 0.05
_CALM_TICK_S: Final = 0.2
_FAILED_STARTS: Final = 3
_HARD_STOP_S: Final = 15.0
_LAST_WILL: Final = Path(__file__).with_name("lastwill.py")

Report = Callable[[Sequence[RoleStatus]], None]


class BootFailed(Unavailable):
    """The stack could not be started."""

    code = "boot_failed"

    def __init__(self, role: str, reason: str, tail: Sequence[str]) -> None:
        """`tail` is the end of the role's log."""
        self.role = role
        self.reason = reason
        self.tail = tuple(tail)
        super().__init__(f"{role} {reason}")


class Interrupted(Exception):
    """A stop was asked for while the stack was starting."""


class Supervisor:
    """Runs phases of roles until told to stop. Use as a context: leaving it leaves no process behind."""

    def __init__(self, logs: Path, report: Report = lambda _: None) -> None:
        """`report` is called with every role's status when one changed, and again after an OSError."""
        self._logs = logs
        self._report = report
        self._own_log = LogFile(logs, "supervisor")
        self._children: dict[str, Child] = {}
        self._reported: tuple[RoleStatus, ...] = ()
        self._untold = False
        self._probes = ThreadPoolExecutor(max_workers=4, thread_name_prefix="probe")
        self._wake = threading.Event()
        self._stop_requests = 0
        self._will = subprocess.Popen(  # noqa: S603 - our own script
            [sys.executable, "-I", "-S", str(_LAST_WILL)], stdin=subprocess.PIPE, start_new_session=True
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
        if self._will.stdin is not None:
            self._will.stdin.close()
        self._will.wait()
        self._probes.shutdown(wait=True, cancel_futures=True)
        for child in self._children.values():
            child.log.close()
        self._own_log.close()

    @property
    def statuses(self) -> tuple[RoleStatus, ...]:
        return tuple(child.status for child in self._children.values())

    def request_stop(self) -> None:
        """Stop in order; asked a second time, stop at once. Safe to call from a signal handler."""
        self._stop_requests += 1
        self._wake.set()

    def boot(self, phases: Sequence[Phase]) -> None:
        """Start the phases one after the other; returns when every role is ready.

        Raises BootFailed when an errand fails or a role keeps ending before it was ready, and Interrupted.
        """
        for phase in phases:
            for errand in phase.errands:
                if errand.needed():
                    self._run(errand)
            for spec in phase.roles:
                self._add(spec).start()
            self._until_ready([self._children[spec.name] for spec in phase.roles])

    def watch(self) -> None:
        """Keep the roles alive until a stop is asked for."""
        while not self._stop_requests:
            self._tick(_CALM_TICK_S)

    def stop(self) -> None:
        """Stop every role, in the order of the roles' kinds. Safe to repeat."""
        asked = self._stop_requests
        for order in StopOrder:
            group = [child for child in self._children.values() if child.spec.order is order]
            for child in group:
                child.begin_stop()
            while any(not child.gone for child in group):
                self._tick(_TICK_S)
                if self._stop_requests > max(asked, 1):
                    self._stop_hard()
                    return
        self._tick(0)

    def _stop_hard(self) -> None:
        self._own_log.event("warning", "stack.killed", reason="a second stop was asked for")
        for child in self._children.values():
            child.kill()
        deadline = clock.monotonic() + _HARD_STOP_S
        while any(not child.gone for child in self._children.values()) and clock.monotonic() < deadline:
            self._tick(_TICK_S)

    def _add(self, spec: RoleSpec) -> Child:
        child = Child(spec, LogFile(self._logs, spec.name), self._probes, self._tell_will)
        self._children[spec.name] = child
        return child

    def _until_ready(self, children: Sequence[Child]) -> None:
        while any(child.state is not RoleState.READY for child in children):
            self._tick(_TICK_S)
            if self._stop_requests:
                raise Interrupted
            for child in children:
                if child.failures >= _FAILED_STARTS:
                    raise BootFailed(child.spec.name, "does not start", child.log.tail())

    def _run(self, errand: Errand) -> None:
        log = LogFile(self._logs, errand.name)
        child = process.start(errand.command, env=errand.env, cwd=errand.cwd, output=subprocess.PIPE)
        self._tell_will(f"+{child.pid}")
        deadline = clock.monotonic() + errand.within_s
        assert child.stdout is not None  # noqa: S101 - PIPE was asked for
        copying = pump(child.stdout, log)
        try:
            while child.poll() is None and clock.monotonic() < deadline:
                self._tick(_TICK_S)
                if self._stop_requests:
                    raise Interrupted
        finally:
            finished = child.poll() is not None
            code = process.stop(child, within_s=2)
            self._tell_will(f"-{child.pid}")
            copying.join(2)
            log.close()
        if not finished:
            raise BootFailed(errand.name, f"took more than {errand.within_s:g} s", log.tail())
        if code != 0:
            raise BootFailed(errand.name, f"failed with exit code {code}", log.tail())

    def _tick(self, pause_s: float) -> None:
        if pause_s and self._wake.wait(pause_s):
            self._wake.clear()
        for child in self._children.values():
            child.tick()
        self._tell(self.statuses)

    def _tell(self, statuses: tuple[RoleStatus, ...]) -> None:
        if statuses == self._reported:
            return
        try:
            self._report(statuses)
        except OSError as error:  # a full disk stops nobody: it is told once there is room again
            if not self._untold:
                self._own_log.event("warning", "state.untold", reason=error.strerror)
            self._untold = True
        else:
            self._reported = statuses
            self._untold = False

    def _tell_will(self, change: str) -> None:
        if self._will.stdin is None:
            return
        try:
            self._will.stdin.write(change.encode() + b"\n")
            self._will.stdin.flush()
        except BrokenPipeError:  # somebody killed the watcher; the kernel's tie still holds
            self._own_log.event("warning", "lastwill.gone", change=change)
