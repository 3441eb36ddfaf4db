"""The history of a run: what the clients asked for and what they were told, one JSON object a line.

An operation is a kind (`f`) and a key. It is `ok` when the client was told that it is done, `fail` when it
was told that it is not, and `info` when nobody can know: no answer, or one that leaves it open. A client may
ask again under the same key; then one `ok` makes the operation ok, and one `info` without an `ok` leaves it
open for good.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from tenure.kit import clock


class Kind(StrEnum):
    """What an entry says of its operation."""

    INVOKE = "invoke"
    OK = "ok"
    FAIL = "fail"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Entry:
    """One line: who (`process`) did what (`f`), by which key and value, at `t` monotonic seconds."""

    process: str
    f: str
    type: Kind
    key: str
    value: Any
    t: float


class History:
    """Collects entries from many threads; with a file each is written as it comes."""

    def __init__(self, file: Path | None = None) -> None:
        """Empty."""
        self._lock = threading.Lock()
        self._entries: list[Entry] = []
        self._file = file

    def add(self, process: str, f: str, type_: Kind, key: str, value: Any = None) -> None:
        """Append one entry, now."""
        entry = Entry(process, f, type_, key, value, round(clock.monotonic(), 4))
        with self._lock:
            self._entries.append(entry)
            if self._file is not None:
                with self._file.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(asdict(entry)) + "\n")

    @property
    def entries(self) -> list[Entry]:
        """Everything so far, in the order in which it came."""
        with self._lock:
            return list(self._entries)


def outcomes(entries: Iterable[Entry]) -> dict[tuple[str, str], Kind]:
    """What each operation came to, by `(f, key)`."""
    told: dict[tuple[str, str], set[Kind]] = {}
    open_: Counter[tuple[str, str, str]] = Counter()
    for entry in entries:
        operation = (entry.f, entry.key)
        told.setdefault(operation, set())
        open_[(*operation, entry.process)] += 1 if entry.type is Kind.INVOKE else -1
        if entry.type is not Kind.INVOKE:
            told[operation].add(entry.type)
    for (f, key, _), count in open_.items():
        if count > 0:  # asked, and the client never came back
            told[f, key].add(Kind.INFO)
    return {operation: _verdict(kinds) for operation, kinds in told.items()}


def _verdict(kinds: set[Kind]) -> Kind:
    return next((kind for kind in (Kind.OK, Kind.INFO) if kind in kinds), Kind.FAIL)


def summary(entries: Iterable[Entry]) -> dict[str, Mapping[str, int]]:
    """How many operations of each kind came to what: `{f: {ok, fail, info}}`."""
    counted: dict[str, Counter[str]] = {}
    for (f, _), kind in outcomes(entries).items():
        counted.setdefault(f, Counter({"ok": 0, "fail": 0, "info": 0}))[kind.value] += 1
    return {f: dict(counts) for f, counts in sorted(counted.items())}
