"""Whether and through what a subscription can be paid now: expiry waits while that cannot be seen."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from tenure.subscriptions.row import lock

_SET: Final = text("""
    UPDATE subscription SET payable_until = :until, payable_source = :source, updated_at = clock_timestamp()
    WHERE id = :id
""")


def set_payable(session: Session, subscription_id: str, source: str | None, until: datetime | None) -> None:
    """An invoice can be paid until then through the source (`chain:NAME`, `provider:NAME`).

    None for both: no invoice can be paid any more. Call it in the transaction that opens or closes the
    invoice: the expiry reads these columns under the same row lock.
    """
    lock(session, subscription_id)
    session.execute(_SET, {"id": subscription_id, "source": source, "until": until})
