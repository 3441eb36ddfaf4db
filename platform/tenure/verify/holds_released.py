"""A hold for a payment stands while that payment is under way, and no longer."""

from __future__ import annotations

from typing import Final

from tenure.verify.invariant import Invariant

INVARIANT: Final = Invariant(
    id="I4c",
    title="No payment holds an expiry back after it was decided, and each that is under way does",
    checked="SELECT count(*) FROM hold WHERE kind = 'payment_in_flight'",
    broken="""
        SELECT h.subscription_id AS id FROM hold h LEFT JOIN payment p ON p.id = h.ref
        WHERE h.kind = 'payment_in_flight' AND (p.id IS NULL OR p.status <> 'seen')
        UNION ALL
        SELECT i.subscription_id FROM payment p JOIN invoice i ON i.id = p.invoice_id
        WHERE p.status = 'seen' AND p.match = 'matched' AND NOT EXISTS (
            SELECT 1 FROM hold h WHERE h.subscription_id = i.subscription_id AND h.ref = p.id)
    """,
)
