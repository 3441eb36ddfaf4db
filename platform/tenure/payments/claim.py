"""Claim a payment for an invoice by its transaction's hash: for amounts that matched nothing.

The transaction is looked for among recorded payments first, then on the chains themselves.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from tenure.audit.record import Actor
from tenure.errors import Invalid, NotFound, Transient
from tenure.kit.db import Database
from tenure.payments import chain_memory
from tenure.payments.assign import AlreadyMatched, assign
from tenure.payments.ports import ChainReader, Transfer
from tenure.payments.record import record
from tenure.settings import Settings

_KNOWN: Final = text("""
    SELECT id, match, invoice_id FROM payment
    WHERE tx_hash = lower(:tx_hash) AND status IN ('seen', 'confirmed') ORDER BY ordinal
""")
_INVOICE: Final = text("SELECT 1 FROM invoice WHERE id = :id")
_HASH: Final = re.compile(r"0x[0-9a-fA-F]{64}")


@dataclass(frozen=True, slots=True)
class Found:
    """The transfers of a transaction to us, by chain; empty when its payments were recorded before."""

    tx_hash: str
    transfers: Mapping[str, Sequence[Transfer]] = field(default_factory=dict)


def find(db: Database, settings: Settings, readers: Mapping[str, ChainReader], tx_hash: str) -> Found:
    """What the chains say about a transaction that is not recorded yet. No transaction may be open.

    Raises Invalid for what is no hash, and ChainUnavailable when a chain that might know it does not answer.
    """
    if not _HASH.fullmatch(tx_hash):
        raise Invalid.field("tx_hash", "tx_hash", "a transaction's hash is 0x and 64 hexadecimal digits")
    with db.transaction() as session:
        if session.execute(_KNOWN, {"tx_hash": tx_hash}).first() is not None:
            return Found(tx_hash)
        addresses = {
            chain.name: chain_memory.watched(session, chain.name, chain.addresses)
            for chain in settings.chains
        }
    found: dict[str, Sequence[Transfer]] = {}
    unavailable: Transient | None = None
    for name, reader in readers.items():
        try:
            found[name] = reader.transfers_in(tx_hash, addresses[name]) or ()
        except Transient as error:
            unavailable = error
    if unavailable is not None and not any(found.values()):
        raise unavailable
    return Found(tx_hash, found)


def claim(session: Session, settings: Settings, found: Found, invoice_id: str, *, actor: Actor) -> str:
    """The payment's id: the transaction's first transfer to us that matched nothing is the invoice's now.

    Raises NotFound for an unknown invoice or transaction, AlreadyMatched, and what `assign` raises.
    """
    if session.execute(_INVOICE, {"id": invoice_id}).first() is None:
        raise NotFound(f"there is no invoice {invoice_id!r}")
    new = 0
    for chain in settings.chains:
        new += record(session, chain, found.transfers.get(chain.name, ()), block_times={}).new
    rows = session.execute(_KNOWN, {"tx_hash": found.tx_hash}).all()
    if not rows:
        raise NotFound(f"{found.tx_hash} holds no payment to us", code="unknown_transaction")
    free = next((row for row in rows if row.match != "matched"), None)
    if free is None and new and rows[0].invoice_id == invoice_id:
        # Only now recorded, and its exact amount told whose it is.
        return str(rows[0].id)
    if free is None:
        raise AlreadyMatched(invoice_id=rows[0].invoice_id)
    assign(session, settings, free.id, invoice_id=invoice_id, actor=actor)
    return str(free.id)
