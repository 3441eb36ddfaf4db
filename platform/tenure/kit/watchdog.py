"""The watchdog of a process: when nothing inside it moves any more, it ends, with all stacks in its log.

What counts is progress within: a tick of beat, a turn of a loop, an answer of the broker, a lease renewed.
Requests and messages from outside are no sign of life, and their absence is no sign of death. A sign's
silence only counts while what it needs answers to a fresh question: an outage is not healed by a restart.

Its thread cannot run while C code holds the interpreter's lock, so a timer of the interpreter's own (C, in
`faulthandler`) stands behind it, and is pushed back as long as the thread runs. The last lines go straight to
standard error: the lock of the log may be what hangs.
"""

from __future__ import annotations

import faulthandler
import json
import os
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final

from tenure.kit import clock

EXIT_CODE: Final = 70
_STDERR: Final = 2
_LAST_WORDS_S: Final = 10.0
_LOOKS_PER_LIMIT: Final = 36
_LONGEST_LOOK_S: Final = 5.0
# A process that was stopped, or a machine that slept: the silence of that time is nobody's.
_STOOD_STILL_S: Final = 5.0
_LONGEST_PATIENCE_S: Final = 10.0
_SHORTEST_PATIENCE_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Condition:
    """A sign's silence counts only while this holds.

    `holds` asks anew each time, over a connection of its own, and does not raise. What takes too long does
    not hold. `told` is whether the log hears of a silence that is excused by it.
    """

    name: str
    holds: Callable[[], bool]
    told: bool = True


class Sign:
    """One kind of progress. Stamping it costs an assignment; any thread may do it."""

    __slots__ = ("count", "excused_at", "excused_by", "limit_s", "name", "needs", "stamped_at")

    def __init__(self, name: str, needs: tuple[str, ...], limit_s: float) -> None:
        """Never seen so far; `needs` are the names of conditions."""
        self.name = name
        self.needs = needs
        self.limit_s = limit_s
        self.count = 0
        self.stamped_at = 0.0
        self.excused_at = 0.0
        self.excused_by: str | None = None

    def stamp(self) -> None:
        """It moved."""
        self.stamped_at = clock.monotonic()
        self.count += 1
        self.excused_by = None


@dataclass(frozen=True, slots=True)
class Threads:
    """How the watchdog gets its thread and waits in it: a process with a patched library gives real ones."""

    start: Callable[[Callable[[], None]], object] = lambda target: threading.Thread(
        target=target, name="tenure-watchdog", daemon=True
    ).start()
    pause: Callable[[float], object] = time.sleep
    lock: Callable[[], AbstractContextManager[Any]] = threading.Lock


class _Inquiry:
    """Asks a condition again and again, never waiting for the answer."""

    def __init__(self, condition: Condition, patience_s: float) -> None:
        self.condition = condition
        self._patience_s = patience_s
        self._thread: threading.Thread | None = None
        self._asked_at = 0.0
        self._answer = False

    def look(self, now: float) -> bool | None:
        """True: it holds, asked just now. False: it does not, or gave no answer in time. None: not known."""
        if self._thread is None or (not self._thread.is_alive() and now - self._asked_at > self._patience_s):
            self._answer, self._asked_at = False, now
            self._thread = threading.Thread(target=self._ask, name="tenure-inquiry", daemon=True)
            self._thread.start()
            return None
        if self._thread.is_alive():
            return False if now - self._asked_at > self._patience_s else None
        return self._answer

    def _ask(self) -> None:
        self._answer = self.condition.holds()


class Watchdog:
    """Watches the signs of one process from its start to `stop()`."""

    def __init__(
        self,
        *,
        role: str,
        limit_s: float,
        grace_s: float,
        conditions: Iterable[Condition] = (),
        threads: Threads | None = None,
    ) -> None:
        """`limit_s` is how long a sign may be silent, `grace_s` how long after the start none is missed."""
        self._role = role
        self._limit_s = limit_s
        self._grace_s = grace_s
        self._threads = threads or Threads()
        self._look_every_s = min(_LONGEST_LOOK_S, limit_s / _LOOKS_PER_LIMIT)
        self._patience_s = min(_LONGEST_PATIENCE_S, max(_SHORTEST_PATIENCE_S, limit_s / 12))
        self._inquiries: dict[str, _Inquiry] = {}
        for condition in conditions:
            self.add(condition)
        self._signs: dict[str, Sign] = {}
        self._lock: Any = self._threads.lock()
        self._runs = False
        self._counts_from = 0.0
        self._looked_at = 0.0
        self._grace_told = False

    def add(self, condition: Condition) -> None:
        """Know this condition too."""
        self._inquiries[condition.name] = _Inquiry(condition, self._patience_s)

    def sign(self, name: str, *needs: str, at_least_s: float = 0.0) -> Sign:
        """The sign of this name, from now on watched. Its limit is never below `at_least_s`."""
        known = self._signs.get(name)
        if known is None:
            known = Sign(name, needs, max(self._limit_s, at_least_s))
            known.excused_at = clock.monotonic()
            self._signs = {**self._signs, name: known}  # whole, because the watching thread may be reading
        return known

    def start(self) -> None:
        """Watch from now on, in a thread of its own."""
        now = clock.monotonic()
        self._runs = True
        self._looked_at = now
        self._counts_from = now + self._grace_s
        self._arm(now)
        # The timer is a thread holding a lock: a child would wait for it forever when it arms its own.
        os.register_at_fork(
            before=self._before_fork,
            after_in_parent=self._after_fork_in_parent,
            after_in_child=self._after_fork_in_child,
        )
        self._threads.start(self._watch)

    def stop(self) -> None:
        """Miss nothing any more: the process is about to end in order."""
        if not self._runs:
            return
        # Before the lock: a second signal's handler may come to this in the midst of the first one's, and
        # would wait for ever for a lock that its own thread holds.
        self._runs = False
        with self._lock:
            faulthandler.cancel_dump_traceback_later()

    def _watch(self) -> None:
        while self._runs:
            self._threads.pause(self._look_every_s)
            self._look(clock.monotonic())

    def _look(self, now: float) -> None:
        slept, self._looked_at = now - self._looked_at, now
        if not self._arm(now):
            return
        if slept > self._look_every_s + _STOOD_STILL_S:
            self._say("warning", "watchdog.stood_still", for_s=round(slept, 1))
            self._counts_from = max(self._counts_from, now)
        if now < self._counts_from:
            return
        if not self._grace_told:
            self._grace_told = True
            counters = {sign.name: sign.count for sign in self._signs.values()}
            self._say("info", "WATCHDOG_GRACE_END", after_s=round(self._grace_s, 1), counters=counters)
        for sign in self._signs.values():
            self._judge(sign, now)

    def _judge(self, sign: Sign, now: float) -> None:
        silent_s = now - max(sign.stamped_at, sign.excused_at, self._counts_from)
        # Asked long before the verdict: a service that was away until a moment ago must not look present.
        if silent_s < sign.limit_s / 3:
            return
        answers = {name: self._inquiries[name].look(now) for name in sign.needs}
        missing = next((name for name, answer in answers.items() if answer is False), None)
        if missing is not None:
            self._excuse(sign, missing, silent_s, now)
        elif silent_s >= sign.limit_s and all(answers.values()):
            self._end(sign, silent_s)

    def _excuse(self, sign: Sign, missing: str, silent_s: float, now: float) -> None:
        sign.excused_at = now
        if sign.excused_by != missing and self._inquiries[missing].condition.told:
            self._say(
                "warning", "watchdog.excused", sign=sign.name, silent_s=round(silent_s, 1), without=missing
            )
        sign.excused_by = missing

    def _end(self, sign: Sign, silent_s: float) -> None:
        with self._lock:
            if not self._runs:
                return
            # Should the pipe of the log be stuck too, C code ends it a little later.
            faulthandler.dump_traceback_later(_LAST_WORDS_S, exit=True, file=_STDERR)
            self._say(
                "critical",
                "LIVENESS_CHECK_FAILED",
                sign=sign.name,
                silent_s=round(silent_s, 1),
                limit_s=sign.limit_s,
                counters={one.name: one.count for one in self._signs.values()},
            )
            faulthandler.dump_traceback(file=_STDERR, all_threads=True)
            os._exit(EXIT_CODE)

    def _say(self, level: str, event: str, **details: Any) -> None:
        line = {"ts": clock.utc_now().isoformat(), "level": level, "event": event, "role": self._role}
        os.write(_STDERR, json.dumps({**line, "pid": os.getpid(), **details}).encode() + b"\n")

    def _arm(self, now: float) -> bool:
        """Push the timer back; False when nothing is watched any more."""
        with self._lock:
            if self._runs:
                left_of_grace = max(0.0, self._counts_from - now)
                faulthandler.dump_traceback_later(self._limit_s + left_of_grace, exit=True, file=_STDERR)
            return self._runs

    def _before_fork(self) -> None:
        self._lock.acquire()
        if self._runs:
            faulthandler.cancel_dump_traceback_later()

    def _after_fork_in_parent(self) -> None:
        self._lock.release()
        self._arm(clock.monotonic())

    def _after_fork_in_child(self) -> None:
        self._runs = False
        self._lock.release()
