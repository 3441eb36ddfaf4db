"""The field of a run: the stack, what may be done to it, and what was done with its proof."""

from __future__ import annotations

import random
import threading
import uuid
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from typing import Any, Final, TypeVar

from tenure.chaos.history import History, Kind
from tenure.chaos.proxy import Proxy
from tenure.chaos.throwaway import Stack
from tenure.errors import TenureError
from tenure.kit import clock

T = TypeVar("T")
_STEP_S: Final = 0.05
_PATIENCE_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Strike:
    """One fault as it was dealt: `happened` says whether the proof shows that it hit."""

    fault: str
    target: str
    at_s: float
    happened: bool
    proof: Mapping[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """As the evidence shows it."""
        return asdict(self)


@dataclass(slots=True)
class Field:
    """What faults work on. `healing` undoes, when the faults are over, whatever still stands."""

    stack: Stack
    history: History
    dice: random.Random
    note: Callable[[str], None]
    proxies: Mapping[str, Proxy] = field(default_factory=dict)
    healing: ExitStack = field(default_factory=ExitStack)
    strikes: list[Strike] = field(default_factory=list)
    _began: float = field(default_factory=clock.monotonic)
    _pause: threading.Event = field(default_factory=threading.Event)

    def record(self, fault: str, target: str, happened: bool, **proof: Any) -> Strike:
        """Write one fault down, as of now."""
        at = round(clock.monotonic() - self._began, 2)
        strike = Strike(fault, target, at, happened, proof)
        self.strikes.append(strike)
        self.note(f"{fault} {target}" + ("" if happened else ": DID NOT HAPPEN"))
        return strike

    def ask_for_a_run(self, job: str, scope: str = "") -> str:
        """Ask for a run as a client does, in the history. The slot's id. Raises what the call raises."""
        key = str(uuid.UUID(int=self.dice.getrandbits(128), version=4))
        self.history.add("fault", "run", Kind.INVOKE, key)
        try:
            made = self.stack.api("POST", f"/jobs/{job}/runs", {"scope": scope}, key=key)
        except TenureError:
            self.history.add("fault", "run", Kind.INFO, key)
            raise
        self.history.add("fault", "run", Kind.OK, key)
        slot_id: str = made["slot_id"]
        return slot_id

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self._pause.wait(seconds)

    def until(self, condition: Callable[[], T], *, within_s: float = _PATIENCE_S) -> T | None:
        """The condition's first true value, or None when there was none in time."""
        deadline = clock.monotonic() + within_s
        while not (value := condition()):
            if clock.monotonic() > deadline:
                return None
            self._pause.wait(_STEP_S)
        return value
