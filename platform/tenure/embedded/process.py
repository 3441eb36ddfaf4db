"""Processes: started so that they cannot be left behind, and known by more than a number.

A pid is reused by the system; a pid with its start time is not.
"""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, Self

import psutil

_GUARD: Final = Path(__file__).with_name("guard.py")
_START_TOLERANCE_S: Final = 0.02  # psutil computes it from clock ticks (1/100 s)


@dataclass(frozen=True, slots=True)
class Account:
    """A user of this machine that a server runs as."""

    uid: int
    gid: int


def _started(process: psutil.Process) -> float:
    """When the process started, by a clock that is never set: seconds since the machine's own start.

    The wall clock would not do: when it is stepped, every process seems to have started at another time, and
    a stack would not know its own supervisor any more.
    """
    stat = Path(f"/proc/{process.pid}/stat")
    if not stat.parent.exists():
        return float(process.create_time())
    # proc(5): field 22; the command in field 2 may hold spaces and brackets.
    fields = stat.read_text().rpartition(")")[2].split()
    return int(fields[19]) / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Identity:
    """One process for good: its pid and when it started."""

    pid: int
    started: float

    @classmethod
    def of(cls, pid: int) -> Self | None:
        """The process with this pid, or None when there is none (a zombie counts as none)."""
        try:
            process = psutil.Process(pid)
            if process.status() == psutil.STATUS_ZOMBIE:
                return None
            return cls(pid, _started(process))
        except (psutil.NoSuchProcess, ProcessLookupError, FileNotFoundError):
            return None

    @property
    def alive(self) -> bool:
        now = Identity.of(self.pid)
        return now is not None and abs(now.started - self.started) <= _START_TOLERANCE_S


def service_account() -> Account | None:
    """Whom a server that refuses root shall run as: None for ourselves, `nobody` when we are root."""
    if os.geteuid() != 0:
        return None
    entry = pwd.getpwnam("nobody")
    return Account(entry.pw_uid, entry.pw_gid)


def start(
    command: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path,
    output: int | IO[bytes],
    account: Account | None = None,
    death_signal: signal.Signals = signal.SIGKILL,
    inherited_sockets: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start the command in a process group of its own; it gets `death_signal` when this thread ends.

    Call from the main thread. Standard output and error both go to `output`.
    """
    owner = (str(account.uid), str(account.gid)) if account else ("-", "-")
    guarded = [sys.executable, "-I", "-S", str(_GUARD), str(os.getpid()), str(int(death_signal)), *owner]
    return subprocess.Popen(  # noqa: S603 - the command is made by us
        [*guarded, *command],
        env=dict(env),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        process_group=0,
        pass_fds=inherited_sockets,
    )


def signal_group(pid: int, signum: signal.Signals) -> None:
    """Send the signal to every process of the group that `pid` leads; nothing happens when all have gone."""
    try:
        os.killpg(pid, signum)
    except ProcessLookupError:
        return


def stop(
    process: subprocess.Popen[bytes], *, signum: signal.Signals = signal.SIGTERM, within_s: float = 10.0
) -> int:
    """Stop the process: the signal to it alone, then SIGKILL to its whole group. Returns its exit code."""
    if process.poll() is None:
        process.send_signal(signum)
        try:
            process.wait(within_s)
        except subprocess.TimeoutExpired:
            signal_group(process.pid, signal.SIGKILL)
    code = process.wait()
    signal_group(process.pid, signal.SIGKILL)  # children it may have left
    return code
