"""The plan of a run: which fault strikes what, when and for how long. The same seed, the same plan. Pure."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Choice:
    """One kind of fault that a plan may choose: how often beside the others, on what, and for how long."""

    fault: str
    targets: tuple[str, ...]
    weight: int = 1
    for_s: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Step:
    """One fault: so long after the one before, on the first of the targets that is there, for so long."""

    after_s: float
    fault: str
    targets: tuple[str, ...]
    for_s: float


def plan(seed: int, mix: Sequence[Choice], *, times: int, gap_s: tuple[float, float]) -> tuple[Step, ...]:
    """So many steps. Every kind of the mix is there once it fits; the rest is chosen by weight.

    A step names all targets of its kind in the order of its dice: what is not there now cannot be struck.
    """
    dice = random.Random(seed)  # noqa: S311 - a plan, not a secret
    certain = list(mix)
    dice.shuffle(certain)
    drawn = dice.choices(mix, weights=[choice.weight for choice in mix], k=max(0, times - len(certain)))
    chosen = [*certain[:times], *drawn]
    dice.shuffle(chosen)
    return tuple(
        Step(
            after_s=round(dice.uniform(*gap_s), 2),
            fault=choice.fault,
            targets=tuple(dice.sample(choice.targets, len(choice.targets))),
            for_s=round(dice.uniform(*choice.for_s), 2),
        )
        for choice in chosen
    )
