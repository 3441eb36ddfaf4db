"""End what a killed supervisor could not end: a watcher that acts when its standard input closes.

Run as a script (`python -I -S lastwill.py`). The supervisor writes `+PID` and `-PID` lines, one for each
process group that begins and ends. The kernel kills the supervisor's direct children with it (see guard.py);
their own children, a Celery worker's pool for one, are ended here. Standard library only.
"""

import os
import signal
import sys
import time

_GENTLE_S = 3.0


def _send(groups: set[int], signum: int) -> set[int]:
    """The groups that still existed."""
    there = set()
    for group in groups:
        try:
            os.killpg(group, signum)
        except (ProcessLookupError, PermissionError):  # gone, or its number belongs to somebody else
            continue
        there.add(group)
    return there


def main() -> None:
    """Keep the list until the supervisor is gone, then end every group on it."""
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)  # it must outlive the supervisor, by a moment
    groups: set[int] = set()
    for line in sys.stdin:
        change = groups.add if line[0] == "+" else groups.discard
        change(int(line[1:]))
    groups = _send(groups, signal.SIGTERM)
    deadline = time.monotonic() + _GENTLE_S
    while groups and time.monotonic() < deadline:
        time.sleep(0.05)
        groups = _send(groups, 0)
    _send(groups, signal.SIGKILL)


if __name__ == "__main__":
    main()
