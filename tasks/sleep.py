"""The development job: ends in every way an iteration can, by its scope.

`ok:SECONDS`, `raise`, `swallow:SECONDS`, `kill` and `exit` are for trying the runtime. The others are ways to
die that tests need: `retry`, `reject`, `ignore`, `leave`, `memory`, `stubborn:SECONDS`, `gil`, `write:TIMES`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from typing import Final, NoReturn

from celery.exceptions import Ignore, Reject, Retry, SoftTimeLimitExceeded

from tasks.door import jobs
from tasks.iteration import iteration
from tenure.errors import IterationOver, Unavailable
from tenure.events.append import NewEvent, append
from tenure.iterations.run import Run
from tenure.kit import clock
from tenure.kit.logging import get_logger
from tenure.wiring import Deps

_log = get_logger("tenure.worker")
_BETWEEN_WRITES_S: Final = 0.02


class AskedToFail(Exception):
    """The scope said `raise`."""


def _seconds(argument: str) -> float:
    try:
        return float(argument or "1")
    except ValueError:
        raise ValueError(
            f"the scope is ok:SECONDS|raise|swallow:SECONDS|kill|exit, not {argument!r}"
        ) from None


def _ok(_: Run, argument: str) -> None:
    time.sleep(_seconds(argument))


def _raise(_: Run, __: str) -> NoReturn:
    raise AskedToFail("as the scope asked")


def _swallow(_: Run, argument: str) -> None:
    """A task that swallows its soft limit is what the hard one is for."""
    until = clock.monotonic() + _seconds(argument)
    while (left := until - clock.monotonic()) > 0:
        with contextlib.suppress(SoftTimeLimitExceeded):
            time.sleep(left)


def _stubborn(_: Run, argument: str) -> None:
    """Swallows its soft limit, and needs long to leave: longer than the hard one gives it."""
    try:
        _swallow(_, "3600")
    finally:
        time.sleep(_seconds(argument))


def _hold_the_gil(_: Run, __: str) -> None:
    """One call of C code that never lets go: no signal handler and no other thread runs."""
    sum(range(10**12))


def _kill(_: Run, __: str) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _exit(_: Run, __: str) -> NoReturn:
    os._exit(1)


def _leave(_: Run, __: str) -> NoReturn:
    sys.exit(1)


def _retry(_: Run, __: str) -> NoReturn:
    raise Retry("as the scope asked")


def _reject(_: Run, argument: str) -> NoReturn:
    raise Reject("as the scope asked", requeue=argument == "requeue")


def _ignore(_: Run, __: str) -> NoReturn:
    raise Ignore


def _use_all_memory(_: Run, __: str) -> None:
    bytearray(sys.maxsize)


def _write(run: Run, argument: str) -> None:
    """Write for ever under the fence; once refused, try so many times more and tell how many were.

    A transaction that PostgreSQL ended (this process was frozen within it) is no answer: it tries again.
    """
    tries, refused = int(argument or "1"), 0
    while refused == 0 or tries > 0:
        try:
            with run.transaction() as session:
                append(session, [NewEvent("sleep.wrote", f"iteration:{run.iteration_id}", ("system",))])
        except IterationOver:
            refused += 1
        except Unavailable:
            time.sleep(_BETWEEN_WRITES_S)
            continue
        tries -= refused > 0
        time.sleep(_BETWEEN_WRITES_S)
    _log.warning("sleep.refused", iteration_id=run.iteration_id, times=refused)


_WAYS: Final[Mapping[str, Callable[[Run, str], None]]] = {
    "ok": _ok,
    "raise": _raise,
    "swallow": _swallow,
    "stubborn": _stubborn,
    "gil": _hold_the_gil,
    "kill": _kill,
    "exit": _exit,
    "leave": _leave,
    "retry": _retry,
    "reject": _reject,
    "ignore": _ignore,
    "memory": _use_all_memory,
    "write": _write,
}


def sleep(run: Run, deps: Deps) -> None:  # noqa: ARG001 - the form of every body
    """Do what the scope says."""
    verb, _, argument = (run.scope or "ok:1").partition(":")
    if verb not in _WAYS:
        _seconds(run.scope)
    else:
        _WAYS[verb](run, argument)
    run.counters.seen = run.counters.done = 1


if "sleep" in jobs:
    iteration("sleep")(sleep)
