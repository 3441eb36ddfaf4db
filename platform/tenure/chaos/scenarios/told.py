"""What a step expected and what it saw, and a scenario as a value."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tenure.chaos.scenarios.story import Story


@dataclass(frozen=True, slots=True)
class Told:
    """One step's claim and what stood there: both JSON objects with the same names."""

    expected: Mapping[str, Any]
    seen: Mapping[str, Any]

    @property
    def ok(self) -> bool:
        """Whether what was seen is what was expected."""
        return dict(self.expected) == dict(self.seen)


# A step's name is the first line of its docstring.
Step = Callable[["Story"], Told]


@dataclass(frozen=True, slots=True)
class Scenario:
    """A story: its name on the command line, what it shows, and its steps in order."""

    name: str
    title: str
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class StepResult:
    """A step that was lived through. `took_ms` is machine time."""

    step: str
    ok: bool
    expected: Mapping[str, Any]
    seen: Mapping[str, Any]
    took_ms: int

    def as_dict(self) -> dict[str, Any]:
        """As the evidence shows it."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Evidence:
    """A scenario that was lived through, up to its end or to the first step that did not hold."""

    name: str
    steps: tuple[StepResult, ...]

    @property
    def ok(self) -> bool:
        """Whether every step held."""
        return all(step.ok for step in self.steps)

    def as_dict(self) -> dict[str, Any]:
        """`{name, steps: [{step, ok, expected, seen, took_ms}], ok}`."""
        return {"name": self.name, "steps": [step.as_dict() for step in self.steps], "ok": self.ok}
