"""A small process under a watchdog, for trying it: `python -m tests.support.hung_process HOW LIMIT GRACE`.

It stamps its sign 20 times a second until the file `hang` appears in the working directory; then it hangs as
it was told. Its children write to files, so that a test sees them without the log.
"""

from __future__ import annotations

import ctypes
import faulthandler
import os
import sys
import threading
import time
from pathlib import Path

from tenure.kit.watchdog import Condition, Watchdog


def hold_the_interpreter() -> None:
    """C code that does not let go of the interpreter's lock."""
    ctypes.PyDLL(None).sleep(600)


def wait_forever() -> None:
    threading.Event().wait()


def fork_and_arm() -> None:
    """A pool child that arms the interpreter's timer for itself, as each iteration does."""
    pid = os.fork()
    if pid == 0:
        faulthandler.dump_traceback_later(60, exit=True)
        faulthandler.cancel_dump_traceback_later()
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    Path("forked").write_text(str(status))


def main() -> None:
    how, limit_s, grace_s = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
    there = Condition("service", lambda: not Path("away").exists())
    watchdog = Watchdog(role="test", limit_s=limit_s, grace_s=grace_s, conditions=[there])
    sign = watchdog.sign("turn", "service")
    watchdog.start()
    while not Path("hang").exists():
        sign.stamp()
        time.sleep(0.05)
        if Path("fork").exists():
            Path("fork").unlink()
            fork_and_arm()
    Path("hangs").touch()
    {"c": hold_the_interpreter, "python": wait_forever}[how]()


if __name__ == "__main__":
    main()
