"""Start a command that cannot outlive its parent, as another user if wanted.

Run as a script (`python -I -S guard.py PARENT SIGNAL UID GID COMMAND...`), because these things must happen
between fork and exec, where a process with threads may not run Python. The kernel sends SIGNAL to the command
when the thread that started it ends, however it ends. Standard library only; nothing here imports tenure.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1
_KEEP = "-"


def _die_with(parent: int, signum: int) -> None:
    """From here on this process gets `signum` when its parent ends (Linux; elsewhere leftovers are swept)."""
    if not sys.platform.startswith("linux"):
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signum, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:  # it ended before the request was made
        raise SystemExit(1)


def main(arguments: list[str]) -> None:
    """Become the command."""
    parent, signum, uid, gid, *command = arguments
    if uid != _KEEP:
        os.setgroups([])
        os.setgid(int(gid))
        os.setuid(int(uid))
    # After the change of user: the kernel forgets the request when credentials change.
    _die_with(int(parent), int(signum))
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell's `&` hands down an ignored one
    os.execvp(command[0], command)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main(sys.argv[1:])
