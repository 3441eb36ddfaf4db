"""What the operations of a history left in the record, counted by key."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import Final

from tenure.chaos import rules
from tenure.chaos.finding import Finding
from tenure.chaos.history import Entry
from tenure.chaos.outside import CHAIN, PROVIDER
from tenure.kit.db import StatementDoor

# Each counts the effects of one kind of operation by its key. Money is credited in the ledger, or stands in
# suspense because its invoice had ended: both are once.
_BY_KIND: Final = MappingProxyType(
    {
        "customer": "SELECT external_id AS key, count(*) AS n FROM customer GROUP BY 1",
        "subscription": """
            SELECT c.external_id AS key, count(*) AS n FROM subscription s
            JOIN customer c ON c.id = s.customer_id GROUP BY 1
        """,
        "invoice": """
            SELECT subscription_id AS key, count(*) AS n FROM invoice WHERE origin = 'request' GROUP BY 1
        """,
        "settle": """
            SELECT p.invoice_id AS key, count(*) AS n FROM payment p
            JOIN ledger_entry l ON l.payment_id = p.id AND l.kind = 'credit'
            WHERE p.provider = 'manual' GROUP BY 1
        """,
        "webhook": f"""
            SELECT p.provider_ref AS key, count(*) AS n FROM payment p
            LEFT JOIN ledger_entry l ON l.payment_id = p.id AND l.kind = 'credit'
            WHERE p.provider = '{PROVIDER}' AND (l.id IS NOT NULL OR p.match = 'unmatched') GROUP BY 1
        """,
        "transfer": f"""
            SELECT p.tx_hash AS key, count(*) AS n FROM payment p
            LEFT JOIN ledger_entry l ON l.payment_id = p.id AND l.kind = 'credit'
            WHERE p.chain = '{CHAIN}' AND p.status = 'confirmed'
              AND (l.id IS NOT NULL OR p.match = 'unmatched') GROUP BY 1
        """,
        "extend": """
            SELECT data->>'reason' AS key, count(*) AS n FROM event
            WHERE type = 'subscription.extended' GROUP BY 1
        """,
        "imported": """
            SELECT external_id AS key, count(*) AS n FROM customer
            WHERE starts_with(external_id, 'imported-') GROUP BY 1
        """,
        "run": "SELECT run_key AS key, count(*) AS n FROM slot WHERE run_key IS NOT NULL GROUP BY 1",
    }
)
# Of these nothing may happen that no client asked for.
_ONLY_ASKED: Final = ("settle", "webhook", "transfer", "extend", "run")


def judged(door: StatementDoor, history: Sequence[Entry]) -> list[Finding]:
    """What of the history is not in the record as its clients were told. An empty history is not judged."""
    if not history:
        return []
    counted = {f: {row["key"]: row["n"] for row in door.run(query)} for f, query in _BY_KIND.items()}
    found = rules.operations(history, counted)
    for f in _ONLY_ASKED:
        found += rules.unasked(f, (entry.key for entry in history if entry.f == f), counted[f])
    return found
