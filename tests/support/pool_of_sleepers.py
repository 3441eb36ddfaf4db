"""A parent with children that sleep, in processes of their own: SIGUSR1 lets a child end by itself.

    python -m tests.support.pool_of_sleepers COUNT ENDS-FILE reap|leave

With `reap` the parent waits for its children, writes `pid status` into the file for each (the status is the
negative number of the signal that ended it), and keeps COUNT of them. With `leave` the dead stay zombies.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path


def main() -> None:
    count, ends, way = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    for _ in range(count):
        _sleeper()
    if way == "leave":
        threading.Event().wait()
    while True:
        pid, status = os.wait()
        with ends.open("a") as file:
            file.write(f"{pid} {os.waitstatus_to_exitcode(status)}\n")
        _sleeper()


def _sleeper() -> None:
    # Blocked until the handler stands: a child that was just made must not be killed by it.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    if os.fork() == 0:
        signal.signal(signal.SIGUSR1, lambda *_: os._exit(0))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1})
        while True:
            signal.pause()


if __name__ == "__main__":
    main()
