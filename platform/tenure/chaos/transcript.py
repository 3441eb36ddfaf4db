"""What a live client was told, held against the log: nothing missing and nothing twice. Pure.

A transcript falls into stretches: a new one begins where the client was told that something is lost (`gap`,
`recovered.complete=false`, another epoch). Inside a stretch offsets follow one another, and its events are
exactly those of the log between its first and its last. A channel that lost its memory begins a new epoch and
may tell again what it told in the old one; inside one epoch nothing comes twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Any

from tenure.chaos.finding import Finding
from tenure.events.publish import BULK


class NoteKind(StrEnum):
    """What a client noted."""

    JOINED = "joined"  # a position without a past
    EVENT = "event"
    LOST = "lost"  # it was told that something is missing


@dataclass(frozen=True, slots=True)
class Note:
    """One line of a transcript; `id`, `seq` and `type` are those of an event.

    `bulk` names the iteration and type of the events that a `*.bulk_changed` stands for.
    """

    kind: NoteKind
    offset: int
    epoch: str
    id: str = ""
    seq: int = 0
    type: str = ""
    bulk: tuple[str, str] | None = None


def contradictions(
    client: str, channel: str, notes: Sequence[Note], log: Sequence[Mapping[str, Any]]
) -> list[Finding]:
    """Where the transcript is not what the log says.

    `log` holds the channel's events in their order: `seq, id, type, iteration_id`.
    """
    found: list[Finding] = []
    subject = f"{client} {channel}"
    seen = Counter((note.epoch, note.id) for note in notes if note.kind is NoteKind.EVENT)
    if twice := [id_ for (_, id_), count in seen.items() if count > 1]:
        found.append(
            Finding("live.twice", subject, f"{len(twice)} events came twice: {', '.join(twice[:3])}")
        )
    for stretch in _stretches(notes):
        events = [note for note in stretch if note.kind is NoteKind.EVENT]
        for before, after in pairwise(stretch):
            if after.offset != before.offset + 1:
                found.append(Finding("live.offset", subject, f"{after.offset} came after {before.offset}"))
        if events:
            found += _against_log(subject, events, log)
    return found


def _stretches(notes: Sequence[Note]) -> Iterator[list[Note]]:
    stretch: list[Note] = []
    for note in notes:
        fresh = note.kind is not NoteKind.EVENT or (stretch and stretch[-1].epoch != note.epoch)
        if fresh and stretch:
            yield stretch
            stretch = []
        # A gap names no epoch, and what comes after it begins anywhere.
        if note.kind is not NoteKind.LOST or note.epoch:
            stretch.append(note)
    if stretch:
        yield stretch


def last_to_hear(notes: Sequence[Note], log: Sequence[Mapping[str, Any]]) -> int:
    """The place of the last event of this log that a client with these notes is told one by one; 0: none.

    What a bulk change stands for comes after it in the log and is not told to a broad channel.
    """
    in_bulk = {note.bulk for note in notes if note.bulk is not None}
    return max((row["seq"] for row in log if _group(row) not in in_bulk), default=0)


def repeated(notes: Sequence[Note]) -> int:
    """How many events were told again after the channel lost its memory."""
    ids = [note.id for note in notes if note.kind is NoteKind.EVENT]
    return len(ids) - len(set(ids))


def _against_log(subject: str, events: Sequence[Note], log: Sequence[Mapping[str, Any]]) -> list[Finding]:
    first, last = events[0].seq, events[-1].seq
    in_bulk: set[_Group] = {note.bulk for note in events if note.bulk is not None}
    # A bulk change stands before the events that it is for: it may have come before this stretch.
    in_bulk |= _large_groups(log) & {_group(row) for row in log if row["seq"] < first}
    slice_ = [row for row in log if first <= row["seq"] <= last]
    wanted = {row["id"] for row in slice_ if _group(row) not in in_bulk}
    bulk = {row["id"] for row in slice_} - wanted
    got = {note.id for note in events if not note.bulk} - bulk
    found = []
    if missing := wanted - got:
        found.append(_differs(subject, "were not told", missing, first, last))
    if strange := got - wanted:
        found.append(_differs(subject, "were told and are not in the log", strange, first, last))
    return found


_Group = tuple[str | None, str]


def _group(row: Mapping[str, Any]) -> _Group:
    return row["iteration_id"], row["type"]


def _large_groups(log: Sequence[Mapping[str, Any]]) -> set[_Group]:
    """The groups of events that are told as bulk changes."""
    sizes = Counter(_group(row) for row in log if row["iteration_id"] is not None)
    return {group for group, size in sizes.items() if size > BULK}


def _differs(subject: str, how: str, ids: set[str], first: int, last: int) -> Finding:
    shown = ", ".join(sorted(ids)[:3])
    return Finding("live.log", subject, f"{len(ids)} events {how} between {first} and {last}: {shown}")
