"""The runs: what each is for, what strikes in it, and the stack that it needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from tenure.chaos.faults import (
    beats,
    broker,
    crash,
    cut,
    database,
    disk,
    freeze,
    kill,
    longrun,
    provider,
    shutdown,
    time,
    zombie,
)
from tenure.chaos.field import Field
from tenure.chaos.grounds import Ground, behind_proxies, plain, with_recipe
from tenure.chaos.plan import Choice, Step
from tenure.chaos.throwaway import Recipe
from tenure.chaos.workload.load import Measure

Strike = Callable[[Field, Step], None]
_APPS: Final = ("worker", "worker-payments", "beat", "relay", "web", "exporter")
_ONE_MORE_BEAT: Final = Step(1.0, "second_beat", ("beat",), 0.0)


@dataclass(frozen=True, slots=True)
class Storm:
    """One named run: the `first` steps, then so many of its mix by default with such pauses between them."""

    name: str
    title: str
    mix: tuple[Choice, ...]
    times: int
    gap_s: tuple[float, float]
    strikes: Mapping[str, Strike]
    first: tuple[Step, ...] = ()
    ground: Ground = plain
    measure: Measure = field(default_factory=Measure)


_KILLS: Final = Storm(
    "kills",
    "SIGKILL of children, workers, beat, relay, web and exporter, again and again, while every job runs",
    (
        Choice("kill", ("child",), weight=6),
        Choice("kill", _APPS, weight=4),
    ),
    times=40,
    gap_s=(0.2, 1.2),
    strikes=MappingProxyType({"kill": kill.strike}),
)
_ZOMBIES: Final = Storm(
    "zombies",
    "workers frozen in mid-work until they are given up, thawed, and refused; relay and child frozen as well",
    (
        Choice("zombie", ("node",), weight=3, for_s=(0.2, 2.0)),
        Choice("zombie", ("parent",), weight=2, for_s=(0.2, 2.0)),
    ),
    times=5,
    gap_s=(0.5, 2.0),
    first=(Step(0.5, "freeze", ("relay",), 6.0), Step(0.5, "freeze", ("child",), 6.0)),
    strikes=MappingProxyType({"zombie": zombie.strike, "freeze": freeze.strike}),
    ground=with_recipe(Recipe(jobs=longrun.LIMITS)),
)
_BROKER: Final = Storm(
    "broker",
    "Valkey killed, emptied, held back, frozen, and its clients thrown out: nothing lives there alone",
    (
        Choice("kill", ("valkey",)),
        Choice("kill", ("valkey-live",)),
        Choice("empty", ("valkey",)),
        Choice("empty", ("valkey-live",)),
        Choice("hold_back", ("valkey",), for_s=(2.0, 8.0)),
        Choice("throw_out", ("valkey",)),
        Choice("throw_out", ("valkey-live",)),
        Choice("freeze", ("valkey",), for_s=(2.0, 6.0)),
    ),
    times=8,
    gap_s=(0.5, 3.0),
    strikes=MappingProxyType(
        {
            "kill": kill.strike,
            "empty": broker.empty,
            "hold_back": broker.hold_back,
            "throw_out": broker.throw_out,
            "freeze": freeze.strike,
        }
    ),
)
_DATABASE: Final = Storm(
    "database",
    "PostgreSQL's backends terminated and killed, the server restarted and frozen, under full work",
    (
        Choice("terminate", ("postgres",), weight=6),
        Choice("kill_backend", ("postgres",)),
        Choice("restart", ("postgres",)),
        Choice("freeze", ("postgres",), for_s=(2.0, 8.0)),
    ),
    times=8,
    gap_s=(0.5, 2.5),
    strikes=MappingProxyType(
        {
            "terminate": database.terminate,
            "kill_backend": database.kill_backend,
            "restart": database.restart,
            "freeze": freeze.strike,
        }
    ),
)

_CUTS: Final = Storm(
    "cuts",
    "the way to PostgreSQL and Valkey cut, refused, black-holed, deaf, slow, and answers to COMMIT lost",
    (
        Choice("cut_commit", ("database",), weight=4, for_s=(1.0, 3.0)),
        Choice("cut_answer", ("database",), weight=2, for_s=(1.0, 2.0)),
        Choice("cut_answer", ("broker",), weight=2, for_s=(1.0, 2.0)),
        Choice("reset", ("database",), for_s=(0.5, 3.0)),
        Choice("reset", ("broker",), for_s=(0.5, 3.0)),
        Choice("reset", ("live",), for_s=(0.5, 3.0)),
        Choice("hole", ("database",), for_s=(3.0, 9.0)),
        Choice("hole", ("broker",), for_s=(3.0, 9.0)),
        Choice("deaf", ("database",), for_s=(3.0, 7.0)),
        Choice("refuse", ("database",), for_s=(1.0, 4.0)),
        Choice("slow", ("database",), for_s=(2.0, 5.0)),
        Choice("slow", ("broker",), for_s=(2.0, 5.0)),
    ),
    times=12,
    gap_s=(0.5, 2.0),
    strikes=MappingProxyType(dict.fromkeys(cut.WEATHERS, cut.strike)),
    ground=behind_proxies,
)
_PROVIDER: Final = Storm(
    "provider",
    "provisioner, mail, Telegram and chain that fail, fall silent, drip, lose answers and talk nonsense",
    (
        *(Choice(fault, ("provisioner",)) for fault in provider.FAULTS),
        *(Choice(fault, ("telegram",)) for fault in provider.FAULTS),
        *(Choice(fault, ("mail",)) for fault in ("error", "drop", "lost_answer")),
        *(Choice(fault, ("chain",)) for fault in provider.FAULTS),
    ),
    times=24,
    gap_s=(0.2, 1.0),
    strikes=MappingProxyType(dict.fromkeys(provider.FAULTS, provider.strike)),
)
_CLOCK: Final = Storm(
    "clock",
    "domain time leaps hours and days ahead and is set back, with two beats, while everything works",
    (
        Choice("clock", ("3h", "12h", "26h"), weight=3),
        Choice("clock", ("3d", "8d"), weight=1),
        Choice("clock", ("reset",), weight=1),
    ),
    times=8,
    gap_s=(1.0, 4.0),
    first=(_ONE_MORE_BEAT,),
    strikes=MappingProxyType({"clock": time.strike, "second_beat": beats.strike}),
)
_TWO_BEATS: Final = Storm(
    "two-beats",
    "three beats at once, of which one is killed, one frozen, and the broker goes away",
    (
        Choice("kill", ("beat",), weight=2),
        Choice("freeze", ("beat",), weight=1, for_s=(6.0, 8.0)),
        Choice("kill", ("valkey",), weight=1),
    ),
    times=6,
    gap_s=(1.0, 3.0),
    first=(_ONE_MORE_BEAT, _ONE_MORE_BEAT),
    strikes=MappingProxyType({"second_beat": beats.strike, "kill": kill.strike, "freeze": freeze.strike}),
)
_SHUTDOWN: Final = Storm(
    "shutdown",
    "the whole stack stopped with work in flight that listens, or does not, and started again",
    (Choice("shutdown", ("swallow:60",)), Choice("shutdown", ("ok:60",))),
    times=2,
    gap_s=(1.0, 3.0),
    strikes=MappingProxyType({"shutdown": shutdown.strike}),
    ground=with_recipe(Recipe(jobs=longrun.LIMITS)),
)
_CRASH_POINTS: Final = Storm(
    "crash-points",
    "death at each named point of the code, two or three times at each; a strike takes one part of the stack",
    tuple(Choice("crash", part.points) for part in crash.PARTS),
    times=len(crash.PARTS),
    gap_s=(0.5, 1.5),
    strikes=MappingProxyType({"crash": crash.strike}),
    ground=with_recipe(
        Recipe(jobs=longrun.LIMITS, files={"TENURE_CRASH_AT_FILE": (crash.ORDERS, crash.NO_ORDERS)})
    ),
)
_DISK_FULL: Final = Storm(
    "disk-full",
    "the disk below PostgreSQL, Valkey and the logs is full, and free again; needs the right to mount",
    (Choice("disk_full", ("disk",), for_s=(4.0, 8.0)),),
    times=2,
    gap_s=(2.0, 5.0),
    strikes=MappingProxyType({"disk_full": disk.strike}),
    ground=with_recipe(Recipe(disk_mb=400)),
)

STORMS: Final[Mapping[str, Storm]] = MappingProxyType(
    {
        storm.name: storm
        for storm in (
            _KILLS,
            _CRASH_POINTS,
            _ZOMBIES,
            _BROKER,
            _DATABASE,
            _CUTS,
            _DISK_FULL,
            _CLOCK,
            _TWO_BEATS,
            _SHUTDOWN,
            _PROVIDER,
        )
    }
)
