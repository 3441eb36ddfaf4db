"""What payments ask of a chain: headers, and transfers under keys that survive a reorg."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from tenure.errors import Permanent, Transient


class ChainUnavailable(Transient):
    """No node of this chain answers usefully now."""

    code = "chain_unavailable"


class ChainMoved(Transient):
    """Blocks changed while they were read; the next poll sees a settled view."""

    code = "chain_moved"


class WrongChain(Permanent):
    """A node serves another chain than the settings name."""

    code = "wrong_chain"


@dataclass(frozen=True, slots=True)
class Asset:
    """A token: its contract (lower case) and the number of decimals of one unit."""

    symbol: str
    contract: str
    decimals: int


@dataclass(frozen=True, slots=True)
class Header:
    """A block's place in the chain. `timestamp` is the chain's claim, not our clock."""

    number: int
    hash: str
    parent_hash: str
    timestamp: datetime


@dataclass(frozen=True, slots=True)
class Transfer:
    """One token transfer inside a transaction.

    `(chain, tx_hash, ordinal)` is its key: `ordinal` counts the ERC-20 Transfer logs of the transaction, from
    its receipt, so neither a reorg nor a change of the watched addresses moves it. `log_index`,
    `block_number` and `block_hash` say where it lies now and do change. Hashes and addresses are lower case.
    """

    tx_hash: str
    ordinal: int
    log_index: int
    block_number: int
    block_hash: str
    to: str
    amount_units: int
    asset: str
    contract: str


class ChainReader(Protocol):
    """Reads one chain.

    Every method raises ChainUnavailable, WrongChain, or BrokenRule inside a transaction.
    """

    @property
    def name(self) -> str:
        """The chain's name in the settings."""
        ...

    def head(self) -> Header:
        """The newest block."""
        ...

    def headers(self, numbers: Iterable[int]) -> Mapping[int, Header]:
        """The canonical headers of these heights; a height above the head is left out."""
        ...

    def header_by_hash(self, block_hash: str) -> Header | None:
        """The block of this hash, or None when the node does not know it (any more)."""
        ...

    def transfers(self, first: int, last: int, addresses: Sequence[str]) -> tuple[Transfer, ...]:
        """All transfers of the known assets to the addresses in blocks `first..last`, oldest first.

        `last` must not lie above the head (a node that does not have it yet counts as unavailable).
        Each one's block hash was the canonical one when this returned; raises ChainMoved when it was not.
        """
        ...

    def transfers_in(self, tx_hash: str, addresses: Sequence[str]) -> tuple[Transfer, ...] | None:
        """The transfers of one transaction to the addresses; None when it is unknown, pending or failed."""
        ...
