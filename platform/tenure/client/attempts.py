"""One call, tried again within its deadline where a repeat cannot do harm."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tenure.kit import clock
from tenure.kit.http import Answer, ErrorAnswer, Unanswered, Unsent
from tenure.kit.retry import Backoff

_BACKOFF: Final = Backoff(first_s=0.2, cap_s=5.0)
# The server did nothing and said so: whatever the method, the request may be sent again.
_NOTHING_DONE: Final = frozenset({429, 503})
_AT_A_PROXY: Final = frozenset({502, 504})
# Nobody will answer under a name that does not resolve or behind a certificate that is wrong.
_HOPELESS: Final = frozenset({"tls", "url", "address"})
_uniform: Final = random.SystemRandom().uniform


@dataclass(frozen=True, slots=True)
class Deadline:
    """A point in time after which nothing is tried any more."""

    at: float

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        return cls(clock.monotonic() + seconds)

    @property
    def left_s(self) -> float:
        """Seconds until then, never negative."""
        return max(0.0, self.at - clock.monotonic())


def repeated(call: Callable[[], Answer], *, deadline: Deadline, repeatable: bool) -> Answer:
    """The call's answer. Raises what its last try raised: Unsent, Unanswered or ErrorAnswer.

    `repeatable` says that a repeat of a request which did arrive changes nothing more. Between tries it
    waits as long as the server asked, else with growing pauses and jitter; a wait that would pass the
    deadline is not begun.
    """
    attempt = 0
    while True:
        attempt += 1
        try:
            return call()
        except (Unsent, Unanswered, ErrorAnswer) as error:
            if not _may_repeat(error, repeatable):
                raise
            wish = error.retry_after_s if isinstance(error, ErrorAnswer) else None
            pause = full_jitter_s(attempt) if wish is None else wish
            if pause >= deadline.left_s:
                raise
        time.sleep(pause)


def full_jitter_s(attempt: int, *, backoff: Backoff = _BACKOFF) -> float:
    """Uniform between nothing and the ceiling, so that many that failed together spread out."""
    return _uniform(0.0, backoff.ceiling_s(attempt))


def _may_repeat(error: Unsent | Unanswered | ErrorAnswer, repeatable: bool) -> bool:
    if isinstance(error, Unsent):
        return error.reason not in _HOPELESS
    if isinstance(error, ErrorAnswer):
        return error.answered_status in _NOTHING_DONE or (repeatable and error.answered_status in _AT_A_PROXY)
    return repeatable
