"""The runs: what each is for, what strikes in it, and the stack that it needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from tenure.chaos.faults import broker, database, freeze, kill
from tenure.chaos.field import Field
from tenure.chaos.plan import Choice, Step
from tenure.chaos.proxy import Proxy
from tenure.chaos.throwaway import Recipe
from tenure.chaos.workload.load import Measure

Strike = Callable[[Field, Step], None]
Ground = AbstractContextManager[tuple[Recipe, Mapping[str, Proxy]]]
_APPS: Final = ("worker", "worker-payments", "beat", "relay", "web", "exporter")
_WORKERS: Final = ("worker", "worker-payments")


@contextmanager
def plain() -> Iterator[tuple[Recipe, Mapping[str, Proxy]]]:
    """A stack with servers of its own and nothing in between."""
    yield Recipe(), {}


@dataclass(frozen=True, slots=True)
class Storm:
    """One named run: so many strikes of its mix by default, with such pauses between them."""

    name: str
    title: str
    mix: tuple[Choice, ...]
    times: int
    gap_s: tuple[float, float]
    strikes: Mapping[str, Strike]
    ground: Callable[[], Ground] = plain
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
    "workers and their children frozen past their lease, declared lost, and thawed in mid-work",
    (
        Choice("freeze", ("child",), weight=2, for_s=(7.0, 9.0)),
        Choice("freeze", _WORKERS, weight=2, for_s=(7.0, 9.0)),
        Choice("freeze", ("beat", "relay"), weight=1, for_s=(6.0, 8.0)),
    ),
    times=5,
    gap_s=(1.0, 3.0),
    strikes=MappingProxyType({"freeze": freeze.strike}),
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

STORMS: Final[Mapping[str, Storm]] = MappingProxyType(
    {storm.name: storm for storm in (_KILLS, _ZOMBIES, _BROKER, _DATABASE)}
)
