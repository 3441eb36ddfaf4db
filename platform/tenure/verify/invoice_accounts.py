"""What an invoice says was paid is what the ledger holds for it."""

from __future__ import annotations

from typing import Final

from tenure.verify.invariant import Invariant

INVARIANT: Final = Invariant(
    id="I1c",
    title="Every invoice agrees with the ledger: paid in full, in part, or given back",
    checked="SELECT count(*) FROM invoice",
    broken="""
        WITH applied AS (
            SELECT invoice_id, -sum(amount_minor) AS applied,
                   -coalesce(sum(amount_minor) FILTER (WHERE kind = 'debit' AND payment_id IS NULL), 0)
                       AS from_balance
            FROM ledger_entry WHERE invoice_id IS NOT NULL GROUP BY invoice_id
        ), received AS (
            SELECT p.invoice_id, sum(p.amount_minor) AS received FROM payment p
            WHERE p.invoice_id IS NOT NULL AND p.credited_at IS NOT NULL GROUP BY p.invoice_id
        ), account AS (
            SELECT i.id, i.status, i.amount_minor, i.paid_minor, coalesce(a.applied, 0) AS applied,
                   coalesce(a.from_balance, 0) + coalesce(r.received, 0) AS received
            FROM invoice i LEFT JOIN applied a ON a.invoice_id = i.id
            LEFT JOIN received r ON r.invoice_id = i.id
        )
        SELECT id FROM account
        WHERE paid_minor <> received
           OR applied <> CASE status WHEN 'paid' THEN amount_minor WHEN 'open' THEN applied ELSE 0 END
           OR (status = 'open' AND (applied < 0 OR applied >= amount_minor))
    """,
)
