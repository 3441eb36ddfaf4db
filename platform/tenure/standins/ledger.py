"""A simulated chain: blocks with hashes, transactions with token transfers, and reorganizations.

It has the parts of an EVM chain that a watcher of payments sees, and no machine under them: what is asked to
be transferred is transferred.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from tenure.errors import Invalid
from tenure.kit import clock

_PAYER: Final = "0x" + "fa" * 20


@dataclass(frozen=True, slots=True)
class Move:
    """One token transfer."""

    contract: str
    to: str
    amount_units: int
    sender: str = _PAYER


@dataclass(frozen=True, slots=True)
class Transaction:
    """Transfers that happen together, or not at all (`ok` false: it was mined and failed)."""

    hash: str
    moves: tuple[Move, ...]
    ok: bool = True


@dataclass(frozen=True, slots=True)
class Block:
    """One block. Its hash covers everything else of it."""

    number: int
    hash: str
    parent_hash: str
    timestamp: int
    transactions: tuple[Transaction, ...]


class Ledger:
    """The chain's state, safe to share between threads. With a file it survives its process."""

    def __init__(self, file: Path | None = None) -> None:
        """Goes on from the file's last block, or makes a first one."""
        self._lock = threading.RLock()
        self._file = file
        self._salt = 0
        self._waiting: list[Transaction] = []
        self.blocks: list[Block] = []
        if file is not None and file.exists():
            self._remember(file)
        if not self.blocks:
            self._append((), timestamp=clock.unix_seconds())

    @property
    def head(self) -> Block:
        """The newest block."""
        with self._lock:
            return self.blocks[-1]

    def submit(self, moves: Sequence[Move], *, ok: bool = True) -> str:
        """A new transaction that waits for a block; returns its hash."""
        with self._lock:
            self._salt += 1
            tx_hash = _digest("tx", self._salt, clock.unix_ms(), [asdict(move) for move in moves])
            self._waiting.append(Transaction(tx_hash, tuple(moves), ok))
            return tx_hash

    def mine(self, count: int = 1) -> Block:
        """That many blocks; the first holds everything that waits."""
        if count < 1:
            raise Invalid("mine at least one block")
        with self._lock:
            for _ in range(count):
                waiting, self._waiting = tuple(self._waiting), []
                self._append(waiting, timestamp=max(self.head.timestamp + 1, clock.unix_seconds()))
            return self.head

    def reorganize(self, depth: int, *, keep: bool = True, shift: bool = False) -> Block:
        """Replace the last `depth` blocks by one more than that.

        The transactions of the replaced blocks come back in the first new one, or never (`keep` false).
        `shift` puts a stranger's transfer before them, so that their log indexes change.
        """
        with self._lock:
            if not 0 < depth < len(self.blocks):
                raise Invalid(f"depth must be 1..{len(self.blocks) - 1}")
            replaced = self.blocks[-depth:]
            del self.blocks[-depth:]
            self._note({"truncate": len(self.blocks)})
            again = [transaction for block in replaced for transaction in block.transactions] if keep else []
            if shift:
                self.submit([Move("0x" + "0e" * 20, "0x" + "0f" * 20, 1)])
                again = [self._waiting.pop(), *again]
            self._waiting = [*again, *self._waiting]
            return self.mine(depth + 1)

    def by_hash(self, block_hash: str) -> Block | None:
        with self._lock:
            return next((block for block in reversed(self.blocks) if block.hash == block_hash), None)

    def by_number(self, number: int) -> Block | None:
        with self._lock:
            return self.blocks[number] if 0 <= number < len(self.blocks) else None

    def between(self, first: int, last: int) -> list[Block]:
        with self._lock:
            return self.blocks[max(first, 0) : last + 1]

    def place_of(self, tx_hash: str) -> Block | None:
        """The block that holds the transaction; None while it waits, or when it is unknown."""
        with self._lock:
            for block in reversed(self.blocks):
                if any(transaction.hash == tx_hash for transaction in block.transactions):
                    return block
        return None

    def _append(self, transactions: tuple[Transaction, ...], *, timestamp: int) -> None:
        number = len(self.blocks)
        parent = self.blocks[-1].hash if self.blocks else "0x" + "0" * 64
        self._salt += 1
        # The salt and the milliseconds make a block that replaces another a different one.
        content = [one.hash for one in transactions]
        block_hash = _digest("block", number, parent, timestamp, content, self._salt, clock.unix_ms())
        block = Block(number, block_hash, parent, timestamp, transactions)
        self.blocks.append(block)
        self._note({"block": asdict(block)})

    def _note(self, line: dict[str, Any]) -> None:
        if self._file is not None:
            with self._file.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")

    def _remember(self, file: Path) -> None:
        for text in file.read_text(encoding="utf-8").splitlines():
            try:
                line = json.loads(text)
            except ValueError:
                continue  # the last line of a life that ended while it wrote
            if "truncate" in line:
                del self.blocks[line["truncate"] :]
            else:
                self.blocks.append(_block(line["block"]))


def _block(told: dict[str, Any]) -> Block:
    transactions = tuple(
        Transaction(one["hash"], tuple(Move(**move) for move in one["moves"]), one["ok"])
        for one in told["transactions"]
    )
    return replace(Block(**{**told, "transactions": ()}), transactions=transactions)


def _digest(*parts: Any) -> str:
    return "0x" + hashlib.sha3_256(json.dumps(parts).encode()).hexdigest()
