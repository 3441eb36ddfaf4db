"""Which iterations of this machine have lost a line in its log.

The row is the proof and the line its echo, printed after the commit: a process that is killed in that
instant, or a full disk, may lose it. Such rows are counted as unprinted and break no invariant.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from sqlalchemy import text

from tenure.kit.db import Database
from tenure.kit.times import rfc3339

_START: Final = "ITERATION_START"
_END: Final = "ITERATION_END"
# Whose logs tell of iterations; the others say nothing about how far back those go.
_TELLERS: Final = ("worker", "beat")
# Lines of several processes come through one pipe, not quite in the order of their times.
_MARGIN: Final = timedelta(seconds=1)
_MOST_SAMPLES: Final = 5

# A line may still be on its way for a moment. What the reaper of another machine ends, that machine prints.
_ROWS: Final = text("""
    SELECT i.id, i.started_at,
           coalesce(i.ended_at < clock_timestamp() - interval '5 seconds', false)
               AND (i.ended_by <> 'reaper' OR NOT EXISTS (SELECT 1 FROM node WHERE host <> :host)) AS has_end
    FROM iteration i JOIN node n ON n.id = i.node_id
    WHERE n.host = :host AND i.started_at >= :since
      AND i.started_at < clock_timestamp() - interval '5 seconds'
    ORDER BY i.id
""")


@dataclass(frozen=True, slots=True)
class Printed:
    """How many iterations since then should be in the log, how many miss a line there, and the first few."""

    since: datetime
    checked: int
    unprinted: int
    samples: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """As the command shows it beside the number."""
        return {"since": rfc3339(self.since), "checked": self.checked, "samples": list(self.samples)}


def printed(db: Database, logs: Path, *, host: str | None = None) -> Printed | None:
    """Hold the record against the logs in this folder, for the time that they cover.

    None when there are no logs of workers: they went elsewhere, and nothing can be said. `host` is the
    machine whose iterations are looked for, by default this one.
    """
    since = _covered_since(logs)
    if since is None:
        return None
    # First the rows, then the log: what the record has by now, the log has too.
    with db.transaction() as session:
        rows = session.execute(_ROWS, {"host": host or socket.gethostname(), "since": since}).all()
    started, ended = _told(logs)
    # A file that was turned over meanwhile has taken its oldest lines with it.
    since = _covered_since(logs) or since
    rows = [row for row in rows if row.started_at >= since]
    missing = [row.id for row in rows if row.id not in started or (row.has_end and row.id not in ended)]
    return Printed(since, len(rows), len(missing), tuple(missing[:_MOST_SAMPLES]))


def _covered_since(logs: Path) -> datetime | None:
    """From when on the logs of every role that tells of iterations are whole."""
    oldest: dict[str, datetime] = {}
    for file in logs.glob("*.log*"):
        role = file.name.split(".log", 1)[0]
        first = next(_moments(file), None) if role.startswith(_TELLERS) else None
        if first is not None:
            # A file that was never turned over has lost nothing.
            whole_since = first if file.suffix == ".log" else first + _MARGIN
            oldest[role] = min(oldest.get(role, whole_since), whole_since)
    return max(oldest.values()) if oldest else None


def _moments(file: Path) -> Iterator[datetime]:
    for entry in _entries(file):
        try:
            yield datetime.fromisoformat(entry["ts"])
        except (KeyError, TypeError, ValueError):
            continue  # not a line of ours


def _told(logs: Path) -> tuple[set[str], set[str]]:
    told: dict[str, set[str]] = {_START: set(), _END: set()}
    for file in logs.glob("*.log*"):
        for entry in _entries(file, containing="ITERATION_"):
            if entry.get("event") in told:
                told[entry["event"]].add(str(entry.get("iteration_id")))
    return told[_START], told[_END]


def _entries(file: Path, *, containing: str = "") -> Iterator[dict[str, Any]]:
    try:
        with file.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if containing not in line:
                    continue
                try:
                    entry = json.loads(line)
                except ValueError:
                    continue  # cut short, or not ours
                if isinstance(entry, dict):
                    yield entry
    except FileNotFoundError:
        return  # it was turned over just now
