"""Every payment that counts is in the ledger once, with its whole worth."""

from __future__ import annotations

from typing import Final

from tenure.verify.invariant import Invariant

INVARIANT: Final = Invariant(
    id="I1",
    title="Every confirmed payment of an invoice is credited exactly once",
    checked="SELECT count(*) FROM payment",
    broken="""
        SELECT p.id FROM payment p
        LEFT JOIN (
            SELECT payment_id, count(*) AS n, sum(amount_minor) AS amount_minor, min(currency) AS currency
            FROM ledger_entry WHERE kind = 'credit' AND payment_id IS NOT NULL GROUP BY payment_id
        ) c ON c.payment_id = p.id
        WHERE (p.credited_at IS NOT NULL) <> (c.n IS NOT NULL) OR c.n > 1
           OR (c.n = 1 AND (c.amount_minor, c.currency) IS DISTINCT FROM (p.amount_minor, p.currency))
           OR (p.status = 'confirmed' AND p.match = 'matched' AND p.credited_at IS NULL)
        UNION ALL
        SELECT id FROM ledger_entry WHERE kind = 'credit' AND payment_id IS NULL
    """,
)
