"""Which rows are only history for machines, and for how long they are kept (by machine time). Pure text.

Not named here, and so never touched: subscriptions, customers, plans, invoices, payments, ledger, notices,
audit, and every event that is not about a slot or an iteration.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

# The newest places in the order of events stay whatever their age: live readers come back to them, and the
# next place is counted from the last.
NEWEST_EVENTS_KEPT: Final = 10_000
# A slot of an internal job, or one whose iterations all were ok and did nothing, and any other.
QUIET_DAYS: Final = 7
OTHER_DAYS: Final = 90


@dataclass(frozen=True, slots=True)
class Rule:
    """Rows of one table that may go when the condition holds (`t` is the row)."""

    table: str
    spent: str

    @property
    def delete(self) -> str:
        """Deletes up to `:batch` rows that nobody has locked."""
        return f"""
            DELETE FROM {self.table} WHERE ctid = ANY(ARRAY(
                SELECT t.ctid FROM {self.table} t WHERE {self.spent} LIMIT :batch FOR UPDATE SKIP LOCKED))
        """


def _older(column: str, days: int) -> str:
    return f"{column} < clock_timestamp() - interval '{days} days'"


RULES: Final = (
    Rule("idempotency_key", "t.expires_at < clock_timestamp()"),
    Rule("session", f"{_older('t.revoked_at', 7)} OR {_older('t.expires_at', 7)}"),
    Rule(
        "node",
        _older("t.lease_until", 7)
        + " AND NOT EXISTS (SELECT 1 FROM iteration i WHERE i.node_id = t.id AND i.ended_at IS NULL)",
    ),
    Rule("outbox", f"t.state = 'done' AND {_older('t.done_at', 30)}"),
    Rule("webhook_delivery", f"t.state = 'delivered' AND {_older('t.delivered_at', 30)}"),
    # Telegram repeats an update for a day at most.
    Rule("telegram_update", _older("t.processed_at", 30)),
    Rule("alert", _older("t.resolved_at", OTHER_DAYS)),
)
