"""Look at a chain: what is new since the last look, and where its past was rewritten. Calls, no database.

A look is whole: the blocks it read follow on one another and on the last block that is remembered, so that
whatever it found lies on one chain. A chain that moves under it raises ChainMoved and is looked at again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from tenure.payments.ports import ChainMoved, ChainReader, Header, Transfer

RING: Final = 256
_CHUNK: Final = 2_000
_MOST_TRANSFERS: Final = 500
# A chain this short is a development chain: read it from its first block.
_YOUNG: Final = 1_000


@dataclass(frozen=True, slots=True)
class Memory:
    """What is remembered of a chain: the next block to read and the hashes of the newest ones that were."""

    next_block: int
    head_block: int
    version: int
    ring: Mapping[int, str]

    @property
    def tip(self) -> int | None:
        """The newest block that is remembered."""
        return max(self.ring, default=None)


@dataclass(frozen=True, slots=True)
class Sight:
    """What one look saw.

    `fork` is the newest block that is still as remembered (None on the first look); blocks above it are to
    be forgotten, `first..last` were read. `rewritten` says that nothing remembered is part of the chain.
    """

    head: Header
    fork: int | None
    first: int
    last: int
    headers: Sequence[Header] = ()
    transfers: Sequence[Transfer] = ()
    block_times: Mapping[int, datetime] = field(default_factory=dict)
    rewritten: bool = False
    behind: bool = False

    @property
    def complete(self) -> bool:
        """Whether everything up to the newest block has been read."""
        return not self.behind and self.last >= self.head.number


def look(
    reader: ChainReader, memory: Memory | None, addresses: Sequence[str], *, confirmations: int
) -> Sight:
    """The next piece of the chain. Raises what the reader raises."""
    head = reader.head()
    if memory is None or memory.tip is None:
        return _read(reader, head, None, first_block(head, confirmations), addresses)
    tip = memory.tip
    if head.number <= tip:
        if memory.ring.get(head.number) == head.hash:
            # The same block as before; or a node that lags behind the one that was asked before.
            return Sight(head, tip, tip + 1, tip, behind=head.number < tip)
    elif _unchanged(reader, memory, tip):
        return _read(reader, head, tip, tip + 1, addresses, follows=memory.ring[tip])
    fork = _fork(reader, memory)
    if fork is None:
        first = min(first_block(head, confirmations), *memory.ring)
        sight = _read(reader, head, None, first, addresses)
        return Sight(
            sight.head, first - 1, sight.first, sight.last, sight.headers, sight.transfers,
            sight.block_times, rewritten=True,
        )  # fmt: skip
    return _read(reader, head, fork, fork + 1, addresses, follows=memory.ring[fork])


def first_block(head: Header, confirmations: int) -> int:
    """Where to begin on a chain that was never read: with what could still become confirmed."""
    return 0 if head.number < _YOUNG else head.number - confirmations


def _unchanged(reader: ChainReader, memory: Memory, number: int) -> bool:
    header = reader.headers([number]).get(number)
    return header is not None and header.hash == memory.ring[number]


def _fork(reader: ChainReader, memory: Memory) -> int | None:
    now = reader.headers(memory.ring)
    same = [number for number, header in now.items() if header.hash == memory.ring[number]]
    return max(same, default=None)


def _read(
    reader: ChainReader,
    head: Header,
    fork: int | None,
    first: int,
    addresses: Sequence[str],
    *,
    follows: str | None = None,
) -> Sight:
    last = min(head.number, first + _CHUNK - 1)
    transfers = reader.transfers(first, last, addresses)
    if len(transfers) > _MOST_TRANSFERS:
        # Whole blocks, and no more of them than can be written well within a job's time.
        last = max(first, transfers[_MOST_TRANSFERS].block_number - 1)
        transfers = tuple(one for one in transfers if one.block_number <= last)
    kept = range(max(first, last - RING + 1), last + 1)
    found = reader.headers({*kept, *(one.block_number for one in transfers)})
    headers = [found[number] for number in kept if number in found]
    _prove_linked(headers, kept, follows if kept and kept[0] == first else None)
    for one in transfers:
        if one.block_number not in found or found[one.block_number].hash != one.block_hash:
            raise ChainMoved(f"{reader.name}: block {one.block_number} was replaced while it was read")
    times = {one.block_number: found[one.block_number].timestamp for one in transfers}
    return Sight(head, fork, first, last, headers, transfers, times)


def _prove_linked(headers: Sequence[Header], kept: range, follows: str | None) -> None:
    if len(headers) != len(kept):
        raise ChainMoved("blocks below the head are missing")
    before = follows
    for header in headers:
        if before is not None and header.parent_hash != before:
            raise ChainMoved(f"block {header.number} does not follow on the one before it")
        before = header.hash
