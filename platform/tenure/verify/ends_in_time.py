"""Nobody keeps for ever what has ended."""

from __future__ import annotations

from typing import Final

from tenure.verify.invariant import Invariant

INVARIANT: Final = Invariant(
    id="I5c",
    title="No period or access is ten minutes past its end without a reason to wait",
    checked="SELECT count(*) FROM subscription WHERE status IN ('trialing', 'active', 'past_due')",
    broken="""
        SELECT s.id FROM subscription s
        WHERE ((s.status IN ('trialing', 'active') AND s.period_end < tenure_now() - interval '10 minutes'
                AND ((s.grace_hours > 0 AND NOT s.cancel_at_period_end) OR s.paid_periods > 0))
            OR (s.status IN ('trialing', 'active', 'past_due') AND s.paid_periods = 0
                AND s.access_until < tenure_now() - interval '10 minutes' AND s.holds = 0
                AND (s.payable_until IS NULL OR s.payable_source IS NULL
                     OR s.payable_until < s.access_until)))
          -- What has just come to be due, or was let go just now, has its ten minutes too.
          AND s.updated_at < clock_timestamp() - interval '10 minutes'
          AND NOT EXISTS (
              SELECT 1 FROM audit a WHERE a.action = 'clock.advance'
                AND a.id > 'aud_' || lpad(to_hex(
                    ((extract(epoch FROM clock_timestamp()) - 600) * 1000)::bigint), 12, '0'))
    """,
)
