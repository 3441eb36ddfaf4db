"""The child's own limit: it ends itself, with all its stacks, when its parent has not done so.

The parent's limits are not enforced while the broker is frozen, and no Python code runs while C code holds
the GIL. So this is the kernel's timer and a signal handler in C: SIGALRM prints the stacks (`faulthandler`)
and then does what it does by default, which is to end the process. Arming it is a few system calls;
`faulthandler.dump_traceback_later` would start a thread for every run (ADR 0010).
"""

from __future__ import annotations

import faulthandler
import signal
from typing import Final

_STDERR: Final = 2


def arm(after_s: float) -> None:
    """End this process after so many seconds, unless `disarm` comes first. SIGALRM is taken until then."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    faulthandler.register(signal.SIGALRM, file=_STDERR, all_threads=True, chain=True)
    signal.setitimer(signal.ITIMER_REAL, after_s)


def disarm() -> None:
    """Take the limit back."""
    signal.setitimer(signal.ITIMER_REAL, 0)
    faulthandler.unregister(signal.SIGALRM)
