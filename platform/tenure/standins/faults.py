"""Faults on demand: what the next calls shall suffer, and the count of what they did suffer."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

from tenure.errors import Invalid


class FaultKind(StrEnum):
    """What happens to a call."""

    STATUS = "status"  # answered with `status`, without effect
    DELAY = "delay"  # served after `delay_s`
    DROP = "drop"  # the connection ends before anything is done
    CUT = "cut"  # done, but the connection ends before the answer
    DRIP = "drip"  # done, and answered byte by byte, `delay_s` apart
    NONSENSE = "nonsense"  # done, and answered with a page of HTML and status 200


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of trouble for the next `times` calls (of the object `target` only, if it is set)."""

    kind: FaultKind
    times: int = 1
    status: int = 503
    delay_s: float = 0.0
    retry_after_s: int | None = None
    target: str | None = None

    @classmethod
    def parse(cls, given: Mapping[str, Any]) -> Fault:
        """From JSON such as `{"kind": "status", "status": 503, "times": 3}`. Raises Invalid."""
        try:
            return cls(**{**given, "kind": FaultKind(given["kind"])})
        except (KeyError, TypeError, ValueError) as error:
            raise Invalid(f"not a fault: {error}") from None


class Faults:
    """A queue of faults, safe to share between threads. `hits` counts by kind what really happened."""

    def __init__(self) -> None:
        """Nothing is planned."""
        self._lock = threading.Lock()
        self._planned: list[Fault] = []
        self._hits: dict[str, int] = {}

    def plan(self, fault: Fault) -> None:
        """After those that are planned already."""
        with self._lock:
            self._planned.append(fault)

    def clear(self) -> None:
        """Forget what is planned; what happened stays counted."""
        with self._lock:
            self._planned.clear()

    def take(self, target: str | None = None) -> Fault | None:
        """The fault of this call, used up by one and counted as happened."""
        with self._lock:
            for place, fault in enumerate(self._planned):
                if fault.target is not None and fault.target != target:
                    continue
                if fault.times > 1:
                    self._planned[place] = replace(fault, times=fault.times - 1)
                else:
                    del self._planned[place]
                self._hits[fault.kind] = self._hits.get(fault.kind, 0) + 1
                return fault
        return None

    @property
    def hits(self) -> dict[str, int]:
        """How often each kind happened."""
        with self._lock:
            return dict(self._hits)

    def as_dict(self) -> dict[str, Any]:
        with self._lock:
            return {"planned": [asdict(fault) for fault in self._planned], "hits": dict(self._hits)}
