"""Record an operator's act in the transaction that carries it out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from tenure.kit.ids import new_id
from tenure.model.record import Audit


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts: `user:<id>`, `key:<id>`, `cli`, or `system`, and the request it came with."""

    name: str
    role: str = "admin"
    user_id: str | None = None
    request_id: str | None = None


CLI = Actor("cli")
SYSTEM = Actor("system")


def record(
    session: Session,
    *,
    actor: Actor,
    action: str,
    object_: str,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    reason: str | None = None,
    subscription_id: str | None = None,
) -> None:
    """Add one entry. `before` and `after` hold only what the act is about, and never a secret."""
    session.add(
        Audit(
            id=new_id("aud"),
            actor=actor.name,
            action=action,
            object=object_,
            before=dict(before) if before is not None else None,
            after=dict(after) if after is not None else None,
            reason=reason,
            request_id=actor.request_id,
            subscription_id=subscription_id,
        )
    )
