"""Which process a target's name means now, and how to hold it still: then a fault cannot come too late."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import Final

import psutil

from tenure.chaos.field import Field
from tenure.embedded.process import Identity

# `child` is any child of a worker's pool; the others are roles, whose process is the parent of its kind.
CHILD: Final = "child"
_WORKERS: Final = ("worker", "worker-payments")
_STOPPED_S: Final = 5.0


def find(field: Field, target: str) -> Identity | None:
    """The process that the target names, if there is one now."""
    if target != CHILD:
        return field.stack.identity(target)
    workers = [name for name in _WORKERS if field.stack.identity(name) is not None]
    children = [child for name in workers for child in field.stack.children(name) if child.alive]
    return field.dice.choice(children) if children else None


def first_held(field: Field, targets: tuple[str, ...]) -> tuple[str, Identity] | None:
    """The first of the targets that has a process, stopped by us; None when none came up in time.

    A process that ended by itself before it could be stopped is no target: it is chosen again.
    """

    def held() -> tuple[str, Identity] | None:
        for target in targets:
            if (found := find(field, target)) is not None and hold(field, found):
                return target, found
        return None

    return field.until(held)


def hold(field: Field, one: Identity) -> bool:
    """SIGSTOP to this process; whether it stands still, alive.

    What stands still cannot end by itself: a SIGKILL that follows is what ends it. False leaves nobody
    stopped: the process had ended (a zombie takes signals as well), or did not stop in time.
    """
    try:
        os.kill(one.pid, signal.SIGSTOP)
    except ProcessLookupError:
        return False
    field.until(lambda: is_frozen(one) or not one.alive, within_s=_STOPPED_S)
    if is_frozen(one) and one.alive:
        return True
    with suppress(ProcessLookupError):
        os.kill(one.pid, signal.SIGCONT)
    return False


def is_frozen(one: Identity) -> bool:
    """Whether the kernel says that it is stopped."""
    return state(one) == "T"


def state(one: Identity) -> str:
    """`T` for a stopped process, `R` for any other; `gone` without a process."""
    try:
        return "T" if psutil.Process(one.pid).status() == psutil.STATUS_STOPPED else "R"
    except psutil.NoSuchProcess:
        return "gone"
