"""Nobody spends what did not come in.

A payment whose block vanished may leave a debt. That has an alert of its own, so reversals and what undoes
them are left out of the sum.
"""

from __future__ import annotations

from typing import Final

from tenure.verify.invariant import Invariant

INVARIANT: Final = Invariant(
    id="I1d",
    title="No customer's balance was ever spent below zero",
    checked="SELECT count(*) FROM (SELECT DISTINCT customer_id, currency FROM ledger_entry) AS account",
    broken="""
        SELECT customer_id AS id FROM ledger_entry
        WHERE kind <> 'reversal' AND NOT (kind = 'adjustment' AND payment_id IS NOT NULL)
        GROUP BY customer_id, currency HAVING sum(amount_minor) < 0
    """,
)
