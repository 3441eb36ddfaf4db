"""The development job: ends in every way an iteration can, by its scope."""

from __future__ import annotations

import contextlib
import os
import signal
import time

from celery.exceptions import SoftTimeLimitExceeded

from tasks.door import jobs
from tasks.iteration import iteration
from tenure.iterations.run import Run
from tenure.wiring import Deps


class AskedToFail(Exception):
    """The scope said `raise`."""


def _seconds(argument: str) -> float:
    try:
        return float(argument)
    except ValueError:
        raise ValueError(
            f"the scope is ok:SECONDS|raise|swallow:SECONDS|kill|exit, not {argument!r}"
        ) from None


def sleep(run: Run, deps: Deps) -> None:  # noqa: ARG001 - the form of every body
    """Do what the scope says: `ok:SECONDS`, `raise`, `swallow:SECONDS`, `kill`, `exit`."""
    verb, _, argument = (run.scope or "ok:1").partition(":")
    match verb:
        case "ok":
            time.sleep(_seconds(argument or "1"))
        case "raise":
            raise AskedToFail("as the scope asked")
        case "swallow":
            wait = _seconds(argument or "1")
            until = time.monotonic() + wait
            # A task that swallows its soft limit is what the hard one is for.
            with contextlib.suppress(SoftTimeLimitExceeded):
                time.sleep(wait)
            time.sleep(max(0.0, until - time.monotonic()))
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "exit":
            os._exit(1)
        case _:
            _seconds(run.scope)
    run.counters.seen = run.counters.done = 1


if "sleep" in jobs:
    iteration("sleep")(sleep)
