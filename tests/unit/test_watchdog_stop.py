"""The watchdog's stop is called by handlers of signals, and a second signal may come within the first's."""

from __future__ import annotations

import subprocess
import sys

STRUCK_IN_ITS_STOP = """
import signal, threading
from tenure.kit.watchdog import Threads, Watchdog

handled = []

class Lock:
    def __init__(self):
        self.inner, self.armed = threading.Lock(), False
        self.acquire, self.release = self.inner.acquire, self.inner.release
    def __enter__(self):
        self.acquire()
        if self.armed:
            self.armed = False
            signal.raise_signal(signal.SIGQUIT)
    def __exit__(self, *_):
        self.release()

lock = Lock()
watchdog = Watchdog(role="test", limit_s=600, grace_s=600, threads=Threads(lock=lambda: lock))
signal.signal(signal.SIGQUIT, lambda *_: (handled.append("handled"), watchdog.stop()))
watchdog.start()
lock.armed = True
watchdog.stop()
print(*handled)
"""


def test_a_stop_within_a_stop_waits_for_nobody() -> None:
    done = subprocess.run(
        [sys.executable, "-c", STRUCK_IN_ITS_STOP], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, "handled\n"), done.stderr
