"""What the commands that work on throw-away stacks share."""

from __future__ import annotations

import signal
from types import FrameType

from tenure import settings
from tenure.errors import Invalid


def refuse_in_production(what: str) -> None:
    """Raises Invalid where real customers are served: a rehearsal takes the machine's memory and cores."""
    if settings.load().is_production:
        raise Invalid(f"{what} is for development installs: it is refused in production")


def heed_sigterm() -> None:
    """SIGTERM ends a run as Ctrl-C does, with its stack."""

    def on_signal(_signum: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, on_signal)
