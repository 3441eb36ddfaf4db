"""One payment is one transfer, and pays one invoice."""

from __future__ import annotations

from typing import Final

from tenure.verify.invariant import Invariant

INVARIANT: Final = Invariant(
    id="I1b",
    title="No transfer is recorded twice, and no payment pays two invoices",
    checked="SELECT count(*) FROM payment",
    broken="""
        SELECT min(id) AS id FROM payment WHERE chain IS NOT NULL
        GROUP BY chain, tx_hash, ordinal HAVING count(*) > 1
        UNION ALL
        SELECT min(id) FROM payment WHERE provider IS NOT NULL
        GROUP BY provider, provider_ref HAVING count(*) > 1
        UNION ALL
        SELECT p.id FROM ledger_entry l JOIN payment p ON p.id = l.payment_id
        WHERE l.invoice_id IS NOT NULL AND l.invoice_id IS DISTINCT FROM p.invoice_id
        UNION ALL
        SELECT id FROM payment WHERE (match = 'matched') <> (invoice_id IS NOT NULL)
    """,
)
