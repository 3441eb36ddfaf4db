"""Roles: what the supervisor runs, as values, and the rules of restarting."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from tenure.embedded.process import Account

_FIRST_DELAY_S: Final = 0.5
_LONGEST_DELAY_S: Final = 30.0
# A role that can become ready is not broken from the ground up: it is worth an earlier try.
_LONGEST_ONCE_READY_S: Final = 10.0
HEALTHY_S: Final = 10.0


class RoleState(StrEnum):
    """Where a role is between nothing and nothing."""

    WAITING = "waiting"
    STARTING = "starting"
    READY = "ready"
    RESTARTING = "restarting"  # it ended by itself and is started again after a pause
    STOPPING = "stopping"
    STOPPED = "stopped"


class StopOrder(StrEnum):
    """The order in which roles are stopped: first those that make work, last those that keep it."""

    BEAT = "1-beat"
    WEB = "2-web"
    WORKER = "3-worker"
    OBSERVER = "4-observer"
    BROKER = "5-broker"
    DATABASE = "6-database"


@dataclass(frozen=True, slots=True)
class RoleSpec:
    """One role: how it is started, known to be ready, and stopped.

    `ready` gets the pid of the process that was started, so that a predecessor's traces do not count. `alive`
    is asked again and again once it was ready; no answer for `silent_s`, or being stopped by a signal for
    `frozen_s`, gets it replaced. `prepare` runs before each start. `stop` is what is sent to the process,
    with the seconds it gets for each; SIGKILL to its whole group comes last.
    """

    name: str
    command: Sequence[str]
    ready: Callable[[int], bool]
    env: Mapping[str, str]
    cwd: Path
    order: StopOrder
    stop: Sequence[tuple[signal.Signals, float]] = ((signal.SIGTERM, 10.0),)
    hard_stop: signal.Signals = signal.SIGKILL
    prepare: Callable[[], object] | None = None
    account: Account | None = None
    ready_within_s: float = 120.0  # on a machine that does much else
    alive: Callable[[int], bool] | None = None
    silent_s: float = 60.0
    frozen_s: float = 60.0
    inherited_sockets: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Errand:
    """A command that runs once, if it is needed, and must succeed before what follows is started."""

    name: str
    command: Sequence[str]
    env: Mapping[str, str]
    cwd: Path
    within_s: float = 120.0
    needed: Callable[[], bool] = lambda: True


@dataclass(frozen=True, slots=True)
class Phase:
    """Errands in order, then roles side by side; the next phase begins when all are ready."""

    roles: Sequence[RoleSpec] = ()
    errands: Sequence[Errand] = ()


@dataclass(frozen=True, slots=True)
class RoleStatus:
    """What is known of a role now."""

    name: str
    pid: int | None
    started: float | None
    state: RoleState
    restarts: int
    reason: str | None = None  # of its last end that was not asked for

    def as_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "pid": self.pid,
            "started": self.started,
            "state": self.state.value,
            "restarts": self.restarts,
            "reason": self.reason,
        }


@dataclass(slots=True)
class Backoff:
    """Pauses between restarts: jittered, doubling from half a second, and begun anew by health.

    Health is to have been ready for ten seconds: what ends after that was most likely ended from outside, and
    no crash loop that goes round so slowly is worth a service that is away for longer. A run that ended
    sooner after it had become ready raises the pause to ten seconds at most, one that never became ready to
    half a minute.
    """

    random: random.Random = field(default_factory=random.SystemRandom)
    _failures: int = 0

    def after_run(self, ready_s: float | None, *, longest_s: float = _LONGEST_DELAY_S) -> float:
        """The pause after a run that was ready for this long; None when it never was."""
        if ready_s is not None:
            longest_s = min(longest_s, _LONGEST_ONCE_READY_S)
            if ready_s >= HEALTHY_S:
                self._failures = 0
        ceiling = min(longest_s, _FIRST_DELAY_S * 2.0 ** min(self._failures, 10))
        self._failures += 1
        return ceiling * self.random.uniform(0.5, 1.0)
