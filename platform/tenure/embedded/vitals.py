"""What is seen of a running role from outside: that it was stopped by a signal, or answers no more.

A process that hangs in itself ends by its own watchdog. What cannot run cannot end itself: a stopped process
(SIGSTOP, a forgotten job control) is seen in the kernel's state of it, a debugger's stop is not meant.
"""

from __future__ import annotations

from concurrent.futures import Executor, Future
from typing import Final

import psutil

from tenure.embedded.roles import RoleSpec
from tenure.kit import clock

_LOOK_EVERY_S: Final = 1.0
_ASK_EVERY_S: Final = 5.0
# A probe may be slow on a busy machine: silence is several unanswered questions, not one late answer.
_UNANSWERED: Final = 4
# Longer between two looks than this, and it was we who stood still.
_STOOD_STILL_S: Final = 5.0


class Vitals:
    """One process under observation. `complaint` returns at once and is called often."""

    def __init__(self, spec: RoleSpec, pid: int, probes: Executor) -> None:
        """It is well now."""
        now = clock.monotonic()
        self._spec = spec
        self._pid = pid
        self._probes = probes
        self._looked_at = now
        self._runs_at = now
        self._answered_at = now
        self._unanswered = 0
        self._asked_at = now
        self._question: Future[bool] | None = None

    def complaint(self, *, is_ready: bool) -> str | None:
        """Why the process must be replaced, if so. Only a role that was ready can be silent."""
        now = clock.monotonic()
        since = now - self._looked_at
        if since < _LOOK_EVERY_S:
            return None
        self._looked_at = now
        if since > _STOOD_STILL_S or not is_ready:
            self._answered_at, self._unanswered = now, 0
        if since > _STOOD_STILL_S or not _is_stopped(self._pid):
            self._runs_at = now
        if now - self._runs_at >= self._spec.frozen_s:
            return f"frozen: stopped by a signal for {now - self._runs_at:.0f} s"
        if is_ready and self._is_silent(now):
            return f"silent: no answer for {now - self._answered_at:.0f} s"
        return None

    def _is_silent(self, now: float) -> bool:
        if self._spec.alive is None:
            return False
        if self._question is None and now - self._asked_at >= _ASK_EVERY_S:
            self._asked_at = now
            self._question = self._probes.submit(self._spec.alive, self._pid)
        elif self._question is not None and self._question.done():
            question, self._question = self._question, None
            if question.exception() is None and question.result():
                self._answered_at, self._unanswered = now, 0
            else:
                self._unanswered += 1
        return self._unanswered >= _UNANSWERED and now - self._answered_at >= self._spec.silent_s


def _is_stopped(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_STOPPED)  # T; a traced one is t
    except psutil.NoSuchProcess:
        return False
