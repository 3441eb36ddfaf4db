"""Applied follows desired; in sync means that they are the same."""

from __future__ import annotations

from typing import Final

from tenure.verify.invariant import Invariant

INVARIANT: Final = Invariant(
    id="I5b",
    title="No account has more applied than desired, and `in_sync` means that all is applied",
    checked="SELECT count(*) FROM provisioning",
    broken="""
        SELECT subscription_id AS id FROM provisioning
        WHERE applied_generation > desired_generation
           OR (state = 'in_sync') <> (applied_generation = desired_generation)
           OR (desired_generation = 0 AND enabled)
           OR (applied_generation > 0 AND applied_at IS NULL)
    """,
)
