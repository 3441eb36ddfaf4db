"""Anvil, a real EVM node for development: found, fetched from npm, and run.

Only the binary inside the npm package is used; no install script runs. Where npm cannot be reached the
simulated chain takes its place (`standins.devchain`).
"""

from __future__ import annotations

import os
import platform
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tenure.errors import Unavailable
from tenure.kit import clock
from tenure.kit.http import HttpDoor, Unanswered
from tenure.kit.sockets import Unsent

VERSION: Final = "1.7.1"
_MACHINES: Final = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
_INSTALL_S: Final = 300
_READY_S: Final = 20.0
_STOP_S: Final = 5.0
_STEP_S: Final = 0.02


def package_name() -> str | None:
    """The npm package with the binary for this machine; None when there is none."""
    machine = _MACHINES.get(platform.machine().lower())
    if machine is None or sys.platform not in {"linux", "darwin"}:
        return None
    return f"@foundry-rs/anvil-{sys.platform}-{machine}"


def find(cache: Path) -> Path | None:
    """The binary that `install` left in the cache; None when there is none."""
    name = package_name()
    if name is None:
        return None
    binary = cache / f"anvil-{VERSION}" / "node_modules" / name / "bin" / "anvil"
    return binary if binary.is_file() else None


def install(cache: Path, *, npm: Sequence[str]) -> Path | None:
    """The binary, fetched if it is not in the cache; None when npm cannot bring it.

    `npm` is the command's beginning, such as `["npm"]`. A broken download leaves nothing that `find` would
    take: the folder gets its name last.
    """
    found, name = find(cache), package_name()
    if found is not None or name is None:
        return found
    target, making = cache / f"anvil-{VERSION}", cache / f"anvil-{VERSION}.{os.getpid()}"
    making.mkdir(parents=True, exist_ok=True)
    command = [
        *npm,
        "install",
        "--ignore-scripts",
        "--no-save",
        "--no-package-lock",
        "--no-audit",
        "--no-fund",
    ]
    command += ["--prefix", str(making), f"{name}@{VERSION}"]
    try:
        done = subprocess.run(  # noqa: S603 - a fixed command, no shell
            command, capture_output=True, timeout=_INSTALL_S, check=False, stdin=subprocess.DEVNULL
        )
        if done.returncode == 0 and not target.exists():
            making.rename(target)
    except (OSError, subprocess.TimeoutExpired):
        return None
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return find(cache)


class Anvil:
    """One node as a child process, gone with the block. It mines at once what it is sent."""

    def __init__(
        self, binary: Path, *, port: int = 0, block_time_s: int | None = None, state: Path | None = None
    ) -> None:
        """Port 0 takes a free one. A block time adds mining by the clock; a state file makes it go on."""
        self.port = port or _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._command = command(binary, port=self.port, block_time_s=block_time_s, state=state)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Return once it answers. Raises Unavailable when it does not in time."""
        self._process = subprocess.Popen(  # noqa: S603 - a fixed command, no shell
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_until_ready(self.url, process=self._process)
        except BaseException:  # an interrupt as well: nobody else would end what was started here
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the process."""
        self._stop()

    def _stop(self) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None


def command(
    binary: Path, *, port: int, block_time_s: int | None = None, state: Path | None = None
) -> list[str]:
    """The command line, for supervisors that start it themselves."""
    line = [str(binary), "--host", "127.0.0.1", "--port", str(port), "--silent", "--slots-in-an-epoch", "1"]
    if block_time_s is not None:
        line += ["--block-time", str(block_time_s), "--mixed-mining"]
    if state is not None:
        line += ["--state", str(state), "--state-interval", "5"]
    return line


def wait_until_ready(url: str, *, process: subprocess.Popen[bytes] | None = None) -> None:
    """Return once the node answers; raises Unavailable when it ended or did not answer in time."""
    door, deadline, pause = HttpDoor(allow_private=True), clock.monotonic() + _READY_S, threading.Event()
    question = {"jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": []}
    try:
        while True:
            try:
                door.request("POST", url, json=question)
            except (Unsent, Unanswered):
                if process is not None and process.poll() is not None:
                    raise Unavailable(f"anvil ended at once with {process.returncode}") from None
                if clock.monotonic() > deadline:
                    raise Unavailable(f"anvil did not answer within {_READY_S:.0f} s") from None
            else:
                return
            pause.wait(_STEP_S)
    finally:
        door.close()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port
