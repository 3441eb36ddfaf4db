"""Named crash points: places where a process may be told to die, to prove what its death leaves behind.

`TENURE_CRASH_AT` arms them, for tests only (production refuses it). A reached point first writes a line to
`<data-dir>/crashes.jsonl` and syncs it, so that the file is the evidence that the fault happened; once it
holds as many lines as were ordered, the point is quiet, and a restarted process goes on. Not armed, a point
is one look at an empty tuple.

    TENURE_CRASH_AT=end.before                 the first process that comes by is killed
    TENURE_CRASH_AT=end.before@expiry*3        three times, and only in iterations of this job
    TENURE_CRASH_AT=relay.numbered,beat.slots=stop
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import threading
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Final

import structlog

from tenure.kit import clock

FILE: Final = "crashes.jsonl"
_EXIT_CODE: Final = 70

POINTS: Final = MappingProxyType(
    {
        "beat.slots": "beat: due times have become slots and are committed; nothing is published",
        "run.requested": "web: the slot of a run on request is committed; nothing is published",
        "publish.claimed": "a publisher has claimed the slot; the broker has heard nothing",
        "publish.sent": "the broker has the message; the slot's row does not say so yet",
        "request.received": "worker: the message has arrived and is not acknowledged",
        "request.accepted": "worker: a child has the message, and it is acknowledged",
        "start.before": "child: the message is here; START is not written",
        "start.written": "child: START is committed; its answer is not used yet",
        "start.told": "child: START is announced; the body has not begun",
        "body.uncommitted": "child: a transaction of the body has made its writes, and not committed",
        "body.committed": "child: a transaction of the body is committed; the body does not know yet",
        "call.claimed": "child: work is claimed for a call to the outside; nobody was called",
        "call.answered": "child: the outside was called and has answered; nothing is written down",
        "watch.seen": "child: a chain was looked at; nothing is written down",
        "watch.credited": "child: payments are confirmed and credited, and not committed",
        "end.before": "child: the body is over; END is not written",
        "end.written": "child: END is committed; nobody was told",
        "end.parent": "worker: a child is gone, and the parent has not written its END",
        "repair.reaped": "lost iterations have their END; nobody was told",
        "repair.skipped": "slots past their time are skipped; nobody was told",
        "relay.numbered": "relay: events have their place; nothing is published",
        "relay.published": "relay: events are published; the relay has not noted how far it got",
    }
)


class Action(StrEnum):
    """What happens to the process at the point."""

    KILL = "kill"  # SIGKILL: nothing is cleaned up
    EXIT = "exit"  # at once with code 70: no `finally`, but no signal either
    STOP = "stop"  # SIGSTOP: frozen with all threads until somebody continues it
    HANG = "hang"  # this thread waits for ever, the others go on


@dataclass(frozen=True, slots=True)
class Order:
    """One armed point: where, in which job ("" is any), how often in all, and what happens."""

    point: str
    job: str = ""
    times: int = 1
    action: Action = Action.KILL


@dataclass(frozen=True, slots=True)
class _Scene:
    file: Path
    role: str


_FORM: Final = re.compile(
    r"(?P<point>[a-z.-]+)(@(?P<job>[a-z_]+))?(\*(?P<times>[1-9][0-9]{0,5}))?(=(?P<action>[a-z]+))?"
)

_orders: tuple[Order, ...] = ()
_scene: _Scene | None = None


def parse(spec: str) -> tuple[Order, ...]:
    """The orders of `point[@job][*times][=action],...`. Raises ValueError that lists what is known."""
    orders = []
    for part in filter(None, (piece.strip() for piece in spec.split(","))):
        found = _FORM.fullmatch(part)
        if found is None:
            raise ValueError(f"write point[@job][*times][=action], not {part!r}")
        if found["point"] not in POINTS:
            raise ValueError(f"there is no crash point {found['point']!r}; there are: {', '.join(POINTS)}")
        action = found["action"] or Action.KILL
        if action not in set(Action):
            raise ValueError(f"a crash point can {', '.join(Action)}, not {action!r}")
        orders.append(
            Order(found["point"], found["job"] or "", int(found["times"] or 1), Action(action)),
        )
    return tuple(orders)


def arm(spec: str | None, data_dir: Path, *, role: str) -> None:
    """Arm this process and what it forks; `role` is what it calls itself in the file. None disarms."""
    global _orders, _scene  # noqa: PLW0603 - one per process, set at its start
    _orders = parse(spec) if spec else ()
    _scene = _Scene(data_dir / FILE, role) if _orders else None


def point(name: str, job: str | None = None) -> None:
    """Pass this point, or die here. Without `job` the one that the log context names counts."""
    if _orders:
        _reach(name, job)


def _reach(name: str, job: str | None) -> None:
    scene = _scene
    if scene is None:
        return
    here = job if job is not None else str(structlog.contextvars.get_contextvars().get("job", ""))
    for order in _orders:
        if order.point == name and order.job in {"", here} and _recorded(scene, order, here):
            _carry_out(order.action)


def _recorded(scene: _Scene, order: Order, job: str) -> bool:
    """Whether this process's turn was written down: the file's lock lets only `times` of them through."""
    scene.file.parent.mkdir(parents=True, exist_ok=True)
    with scene.file.open("a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        earlier = sum(
            line["point"] == order.point and order.job in {"", line["job"]}
            for line in map(json.loads, file.read().splitlines())
        )
        if earlier >= order.times:
            return False
        line = {
            "point": order.point,
            "job": job,
            "action": order.action.value,
            "role": scene.role,
            "pid": os.getpid(),
            "monotonic": clock.monotonic(),
            "at": clock.utc_now().isoformat(),
        }
        file.write(json.dumps(line).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
        return True


def _carry_out(action: Action) -> None:
    match action:
        case Action.KILL:
            os.kill(os.getpid(), signal.SIGKILL)
        case Action.EXIT:
            os._exit(_EXIT_CODE)
        case Action.STOP:
            os.kill(os.getpid(), signal.SIGSTOP)
        case Action.HANG:
            threading.Event().wait()
