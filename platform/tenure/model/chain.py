"""How far each chain has been read, and the hashes that tell when it was rewritten."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, text
from sqlalchemy.orm import Mapped, mapped_column

from tenure.model.base import Base, CreatedAt


class ChainCursor(Base):
    """The next block to read of one chain; moved only in the transaction that wrote the blocks before it."""

    __tablename__ = "chain_cursor"

    chain: Mapped[str] = mapped_column(primary_key=True)
    next_block: Mapped[int] = mapped_column(BigInteger)
    # The highest head seen; with next_block = head_block + 1 everything has been read.
    head_block: Mapped[int] = mapped_column(BigInteger)
    # Rises with every write: the compare-and-set of the watcher.
    version: Mapped[int] = mapped_column(BigInteger, server_default=text("1"))
    updated_at: Mapped[CreatedAt]


class ChainBlock(Base):
    """One of the newest blocks that were read, as it was when it was read."""

    __tablename__ = "chain_block"

    chain: Mapped[str] = mapped_column(ForeignKey("chain_cursor.chain", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    hash: Mapped[str]
    parent_hash: Mapped[str]
    timestamp: Mapped[datetime]
