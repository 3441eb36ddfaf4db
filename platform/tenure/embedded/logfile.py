"""Log files of the roles: one JSON object a line whoever wrote it, bounded in size, without secrets.

The roles' own lines are JSON and pass as they are. What servers and libraries write as text is wrapped, and
the lines of a Python traceback become one object.
"""

from __future__ import annotations

import json
import re
import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final

from tenure.kit import clock
from tenure.kit.logging import masked

_MAX_BYTES: Final = 10 * 1024 * 1024
_KEPT: Final = 2  # older files beside the current one
_MAX_LINE: Final = 64 * 1024
_MAX_TRACEBACK_LINES: Final = 400
_TRACEBACK: Final = "Traceback (most recent call last):"
# One thread in a dump of the interpreter's (faulthandler); its frames follow, indented.
_STACK: Final = re.compile(r"^(Current thread|Thread) 0x[0-9a-f]+ .*\(most recent call first\):$")
_TIMER: Final = re.compile(r"^Timeout \([\d:.]+\)!$")
_POSTGRES: Final = re.compile(r"^(DEBUG\d?|INFO|NOTICE|LOG|WARNING|ERROR|FATAL|PANIC):\s+(.*)$")
_VALKEY: Final = re.compile(r"^\d+:[MSCX] \d\d \w{3} \d{4} [\d:.]+ ([.\-*#]) (.*)$")
_TORNADO: Final = re.compile(r"^\[([DIWEC]) \d{6} [\d:]+ [\w.]+:\d+\] (.*)$")  # Flower
_LEVELS: Final = {
    "WARNING": "warning", "ERROR": "error", "FATAL": "critical", "PANIC": "critical", "#": "warning",
    ".": "debug", "-": "debug", "D": "debug", "W": "warning", "E": "error", "C": "critical",
}  # fmt: skip


class LogFile:
    """One role's log, turned over when it has grown; safe for several threads."""

    def __init__(self, folder: Path, role: str, *, max_bytes: int = _MAX_BYTES) -> None:
        """Append to `<folder>/<role>.log`."""
        self.role = role
        self.path = folder / f"{role}.log"
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._file = self.path.open("ab", buffering=0)
        self._size = self._file.tell()
        self._tail: deque[str] = deque(maxlen=20)
        self.dropped = 0  # lines that could not be written, e.g. on a full disk

    def event(self, level: str, event: str, **details: Any) -> None:
        """Write one object."""
        line = {"ts": clock.utc_now().isoformat(), "level": level, "event": event, "role": self.role}
        self.write(json.dumps({**line, **details}, default=str))

    def write(self, line: str) -> None:
        """Write a line as it is, secrets masked. A disk that is full never stops the role: lines are lost."""
        line = masked(line)
        data = line.encode() + b"\n"
        with self._lock:
            self._tail.append(line)
            try:
                if self._size + len(data) > self._max_bytes:
                    self._turn_over()
                self._file.write(data)
                self._size += len(data)
            except OSError:
                self.dropped += 1

    def tail(self) -> list[str]:
        """The last lines written, oldest first."""
        with self._lock:
            return list(self._tail)

    def close(self) -> None:
        with self._lock:
            self._file.close()

    def _turn_over(self) -> None:
        for age in range(_KEPT, 0, -1):
            older = self.path if age == 1 else self.path.with_suffix(f".log.{age - 1}")
            if older.exists():
                older.replace(self.path.with_suffix(f".log.{age}"))
        turned = self._file
        self._file = self.path.open("ab", buffering=0)  # without room it raises, and the file before goes on
        self._size = 0
        turned.close()


def pump(source: IO[bytes], log: LogFile) -> threading.Thread:
    """Copy everything from the pipe to the log until its last writer has closed it."""
    thread = threading.Thread(target=_copy, args=(source, log), name=f"log-{log.role}", daemon=True)
    thread.start()
    return thread


def _copy(source: IO[bytes], log: LogFile) -> None:
    with source:
        for line in _objects(_lines(source)):
            if isinstance(line, str):
                log.write(line)
            else:
                log.event(**line)


def _lines(source: IO[bytes]) -> Iterator[str]:
    while data := source.readline(_MAX_LINE):
        text = data.decode(errors="replace").rstrip()
        if text:
            yield text


def _objects(lines: Iterator[str]) -> Iterator[str | dict[str, Any]]:
    """JSON lines as they are, everything else as the pieces of an event."""
    traceback: list[str] = []
    stack: list[str] = []
    for line in lines:
        if traceback:
            traceback.append(line)
            if line[0].isspace() and len(traceback) < _MAX_TRACEBACK_LINES:
                continue
            yield _traceback_event(traceback)
            traceback = []
            continue
        if stack and line[0].isspace() and len(stack) < _MAX_TRACEBACK_LINES:
            stack.append(line)
            continue
        if stack:  # its last frame was the line before this one
            yield _stack_event(stack)
            stack = []
        if line == _TRACEBACK:
            traceback.append(line)
        elif _STACK.match(line):
            stack.append(line)
        else:
            yield line if _is_event(line) else _wrapped(line)
    if traceback:
        yield _traceback_event(traceback)
    if stack:
        yield _stack_event(stack)


def _stack_event(lines: list[str]) -> dict[str, Any]:
    return {"level": "error", "event": "stack", "traceback": "\n".join(lines)}


def _traceback_event(lines: list[str]) -> dict[str, Any]:
    return {"level": "error", "event": lines[-1].strip(), "traceback": "\n".join(lines)}


def _is_event(line: str) -> bool:
    if not line.startswith("{"):
        return False
    try:
        return "event" in json.loads(line)
    except ValueError:
        return False


def _wrapped(line: str) -> dict[str, Any]:
    match = _POSTGRES.match(line) or _VALKEY.match(line) or _TORNADO.match(line)
    if match is None:
        return {"level": "critical" if _TIMER.match(line) else "info", "event": line}
    return {"level": _LEVELS.get(match[1], "info"), "event": match[2]}
