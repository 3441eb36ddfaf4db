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


def heed_signals() -> None:
    """SIGTERM and a terminal that is closed end a run as Ctrl-C does, with its stack.

    A hang-up that was to be ignored (`nohup`) stays ignored; a Ctrl-C is heeded in the background as well.
    """

    def on_signal(_signum: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, on_signal)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, on_signal)
