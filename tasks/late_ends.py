"""Verdicts that PostgreSQL could not take: kept by the process that knows them and written when it is back.

Without this an outage of a second at the wrong moment would leave a run open until its deadline, and with it
its job blocked. What is kept here dies with the process; then the reaper ends the run.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Final

from tenure.errors import Unavailable
from tenure.iterations import announce
from tenure.iterations.ledger import Ended
from tenure.kit import clock
from tenure.kit.logging import get_logger

_log = get_logger("tenure.worker")
_AGAIN_S: Final = 0.5
# A verdict later than this has been given by the reaper: no job's deadline is further away.
_OLDEST_S: Final = 3600.0

Verdict = Callable[[], Ended | None]
TellEnded = Callable[[list[Ended]], None]


class LateEnds:
    """Verdicts in waiting. One per process; made after the fork, because threads do not survive it."""

    def __init__(self, tell: TellEnded) -> None:
        """`tell` hears of every END written here."""
        self._tell = tell
        self._waiting: deque[tuple[float, Verdict]] = deque()
        self._lock = threading.Lock()
        self._awake = threading.Event()
        self._thread: threading.Thread | None = None

    def write(self, verdict: Verdict, *, event: str, **about: object) -> None:
        """Give the verdict now if that is possible, else as soon as it is; then `event` is logged."""
        try:
            self._give(verdict)
        except Unavailable as error:
            _log.warning(event, reason=error.extra.get("reason"), **about)
            self._keep(verdict)

    def finish(self, within_s: float) -> None:
        """Before the process ends: a last chance for what waits."""
        deadline = clock.monotonic() + within_s
        while self._waiting and clock.monotonic() < deadline:
            self._awake.set()
            threading.Event().wait(_AGAIN_S / 5)

    def _give(self, verdict: Verdict) -> None:
        ended = verdict()
        if ended is not None:
            announce.ended(ended)
            self._tell([ended])

    def _keep(self, verdict: Verdict) -> None:
        with self._lock:
            self._waiting.append((clock.monotonic(), verdict))
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._work, name="tenure-late-ends", daemon=True)
                self._thread.start()
        self._awake.set()

    def _work(self) -> None:
        while True:
            if not self._waiting:
                self._awake.wait()
            self._awake.clear()
            self._awake.wait(_AGAIN_S)
            self._round()

    def _round(self) -> None:
        for _ in range(len(self._waiting)):
            since, verdict = self._waiting[0]
            age = clock.monotonic() - since
            if age < _OLDEST_S:
                try:
                    self._give(verdict)
                except Unavailable:
                    return
                _log.info("end.written_late", after_s=round(age, 1))
            self._waiting.popleft()
