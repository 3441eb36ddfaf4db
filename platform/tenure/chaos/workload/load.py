"""The whole workload: started before the faults, stopped after them, and its transcripts."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from tenure.chaos.history import History, Kind
from tenure.chaos.throwaway import Stack
from tenure.chaos.workload.customer import Customer
from tenure.chaos.workload.listener import Listener
from tenure.chaos.workload.operator import Operator
from tenure.errors import Unavailable
from tenure.kit import clock

_STEP_S: Final = 0.2
_WARM_S: Final = 120.0
_END_S: Final = 90.0
_WARM_OPERATIONS: Final = 6
_REMINDERS: Final = [
    {"stage": "soon", "offset_hours": -6, "channels": ["email", "telegram"]},
    {"stage": "late", "offset_hours": 3, "channels": ["email"]},
]
_PLAN: Final[dict[str, Any]] = {
    "price": {"amount_minor": 999, "currency": "USD"},
    "interval": {"unit": "day", "count": 1},
    "grace_hours": 9,
    "reminders": _REMINDERS,
}


@dataclass(frozen=True, slots=True)
class Measure:
    """How much work: clients with their pause, live listeners, imported rows, and the pace of domain time."""

    clients: int = 3
    pause_s: float = 0.4
    listeners: int = 2
    imports: int = 40
    clock_every_s: float = 8.0


class Workload:
    """Clients, listeners and an operator against one stack."""

    def __init__(self, stack: Stack, history: History, *, seed: int, measure: Measure) -> None:
        """Nothing happens before `start()`."""
        self._stack = stack
        self._history = history
        self.customers = [
            Customer(n, stack, history, seed=seed, pause_s=measure.pause_s) for n in range(measure.clients)
        ]
        self.listeners = [Listener(n, stack) for n in range(measure.listeners)]
        self.operator = Operator(stack, history, clock_every_s=measure.clock_every_s, imports=measure.imports)

    def start(self) -> None:
        """Make the plans, start everybody, and return once work flows. Raises Unavailable when none does."""
        for code, trial_days, auto_renew in (("daily", 0, True), ("tried", 1, False)):
            plan = {"code": code, "name": code, "trial_days": trial_days, "auto_renew": auto_renew, **_PLAN}
            self._stack.api("POST", "/plans", plan)
        for thread in (*self.listeners, *self.customers, self.operator):
            thread.start()
        self._until(self._flows, _WARM_S, "no work flows")

    def stop(self) -> None:
        """Clients and operator end; listeners go on. Raises Unavailable when somebody does not end."""
        threads: list[Customer | Operator] = [*self.customers, self.operator]
        for thread in threads:
            thread.stop()
        for thread in threads:
            thread.join(_END_S)
            if thread.is_alive():
                raise Unavailable(f"{thread.name} does not end")
        self.operator.lift_quarantines()  # what the last faults brought about

    def finish(self) -> None:
        """Listeners end; their transcripts are whole."""
        for listener in self.listeners:
            listener.stop()
        for listener in self.listeners:
            listener.join(_END_S)

    def _flows(self) -> bool:
        done = sum(entry.type is Kind.OK for entry in self._history.entries)
        return done >= _WARM_OPERATIONS and all(listener.connections for listener in self.listeners)

    @staticmethod
    def _until(condition: Callable[[], bool], within_s: float, what: str) -> None:
        deadline, pause = clock.monotonic() + within_s, threading.Event()
        while not condition():
            if clock.monotonic() > deadline:
                raise Unavailable(what)
            pause.wait(_STEP_S)
