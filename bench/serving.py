"""Start a server process for a benchmark, wait until it answers, and count the CPU it uses."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

from tenure.embedded.process import start

ROOT = Path(__file__).resolve().parents[1]
_START_S = 180.0
# What stands in for the free port in a command.
PORT = "PORT"


@contextmanager
def running(command: Sequence[str], env: Mapping[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The process for the block's time; its output goes to `log`."""
    with log.open("ab") as output:
        process = start(command, env=env, cwd=ROOT, output=output)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


@contextmanager
def serving(
    command: Sequence[str], env: Mapping[str, str], log: Path, *, core: int | None = None
) -> Iterator[tuple[int, int]]:
    """A server on a free port, on that core alone if named; its port and the serving process's pid."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    words = [word.replace(PORT, str(port)) for word in command]
    with running(words, env, log) as process:
        _until_it_answers(port, process, log)
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        if core is not None and os.cpu_count() != 1:
            for each in family:
                each.cpu_affinity([core])
        yield port, family[-1].pid


def cpu_s(pid: int) -> float:
    """Seconds on a core, user and system, of all threads: finer than the clock ticks of times()."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(each.read_text().split()[0]) for each in tasks) / 1e9


def _until_it_answers(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        assert process.poll() is None, f"{process.args!r} ended: {log.read_text()[-2000:]}"
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/livez", timeout=2).close()
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise TimeoutError(f"{process.args!r} does not answer")
