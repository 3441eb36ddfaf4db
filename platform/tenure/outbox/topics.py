"""Topics: what each kind of outgoing message promises, and how it is tried again."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

_uniform: Final = random.SystemRandom().uniform


class Promise(StrEnum):
    """What the other side may count on."""

    # Tried until it answers: a message whose fate is unknown is sent again.
    AT_LEAST_ONCE = "at_least_once"
    # Sent again only when it was certainly not taken: one whose fate is unknown is left to a person.
    AT_MOST_ONCE = "at_most_once"


@dataclass(frozen=True, slots=True)
class Topic:
    """One kind of message. `pauses_s` are the pauses before the second try, the third, and so on."""

    name: str
    promise: Promise
    # Longer than one try can take: after it, whoever had the message is taken for dead.
    lease_s: float
    pauses_s: tuple[float, ...]
    # A pause grows by up to this share of it, so that many that failed together do not return together.
    jitter: float = 0.2

    @property
    def attempts(self) -> int:
        """How often it is tried before it is a dead letter."""
        return len(self.pauses_s) + 1

    def pause_s(
        self,
        attempt: int,
        *,
        at_least_s: float | None = None,
        uniform: Callable[[float, float], float] = _uniform,
    ) -> float | None:
        """The pause after the `attempt`-th try failed (the first is 1); None when there is no other.

        Never shorter than what the other side asked for.
        """
        if attempt >= self.attempts:
            return None
        pause = self.pauses_s[max(attempt, 1) - 1]
        return max(uniform(pause, pause * (1 + self.jitter)), at_least_s or 0.0)


_M, _H = 60.0, 3600.0

# The schedule of Standard Webhooks 1.0.0: ten tries in about three days.
WEBHOOK: Final = Topic(
    "webhook",
    Promise.AT_LEAST_ONCE,
    lease_s=60,
    pauses_s=(5, 5 * _M, 30 * _M, 2 * _H, 5 * _H, 10 * _H, 14 * _H, 20 * _H, 24 * _H),
)

TOPICS: Final = {topic.name: topic for topic in (WEBHOOK,)}
