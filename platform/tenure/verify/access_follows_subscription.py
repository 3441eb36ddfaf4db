"""What the provisioner shall be told is what the subscription and its customer say."""

from __future__ import annotations

from typing import Final

from tenure.verify.invariant import Invariant

INVARIANT: Final = Invariant(
    id="I5",
    title="Desired access is exactly what each subscription's state demands",
    checked="SELECT count(*) FROM subscription",
    broken="""
        SELECT s.id FROM subscription s JOIN customer c ON c.id = s.customer_id
        LEFT JOIN provisioning p ON p.subscription_id = s.id
        WHERE p.subscription_id IS NULL
           OR p.enabled <> (s.status IN ('trialing', 'active', 'past_due'))
           OR (p.desired_generation > 0
               AND (p.access_until, p.plan_code, p.external_id, p.email)
                   IS DISTINCT FROM (s.access_until, s.plan_code, c.external_id, c.email))
    """,
)
