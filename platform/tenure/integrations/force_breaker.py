"""Force a breaker open or closed for a while, or leave it to itself again. What is forced wins everywhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from sqlalchemy import text
from sqlalchemy.orm import Session

from tenure.audit.record import Actor, record
from tenure.errors import Conflict
from tenure.events.append import NewEvent, append
from tenure.integrations.known import Integration
from tenure.kit.times import rfc3339

Wanted = Literal["open", "closed", "auto"]

_SET: Final = text("""
    INSERT INTO breaker_override AS o (name, state, until, reason, set_by)
    VALUES (:name, :state, clock_timestamp() + :for_s * interval '1 second', :reason, :by)
    ON CONFLICT (name) DO UPDATE SET state = excluded.state, until = excluded.until,
        reason = excluded.reason, set_by = excluded.set_by, set_at = clock_timestamp()
    RETURNING state, until, reason, set_by
""")
_LIFT: Final = text("DELETE FROM breaker_override WHERE name = :name")
_READ: Final = text("""
    SELECT name, state, until, reason, set_by,
           extract(epoch FROM until - clock_timestamp())::float8 AS left_s,
           coalesce((SELECT email FROM app_user WHERE 'user:' || id = set_by),
                    (SELECT k.name FROM api_key k WHERE 'key:' || k.id = set_by), set_by) AS set_by_name
    FROM breaker_override WHERE until > clock_timestamp()
""")


@dataclass(frozen=True, slots=True)
class Override:
    """What an operator decided, and for how long it still holds."""

    state: str
    until: datetime
    reason: str
    set_by: str
    set_by_name: str
    left_s: float

    def shown(self) -> dict[str, Any]:
        """As the API shows it."""
        return {
            "state": self.state,
            "until": rfc3339(self.until),
            "reason": self.reason,
            "set_by": self.set_by,
            "set_by_name": self.set_by_name,
        }


def overrides(session: Session) -> Mapping[str, Override]:
    """What is forced now, by the integrations' names."""
    return {
        row.name: Override(row.state, row.until, row.reason, row.set_by, row.set_by_name, row.left_s)
        for row in session.execute(_READ)
    }


def force_breaker(
    session: Session, integration: Integration, *, state: Wanted, for_s: int, reason: str, actor: Actor
) -> dict[str, Any]:
    """The breaker is forced for `for_s` seconds of machine time, or `auto`: nothing is forced any more.

    All processes follow within a few seconds, and the channel `system` tells it. Raises Conflict for an
    integration that is never called.
    """
    if not integration.breakers:
        raise Conflict(
            f"{integration.name} is never called from here: there is no breaker", code="no_breaker"
        )
    before = overrides(session).get(integration.name)
    after: dict[str, Any] = {"state": "auto"}
    if state == "auto":
        session.execute(_LIFT, {"name": integration.name})
    else:
        row = session.execute(
            _SET,
            {
                "name": integration.name,
                "state": state,
                "for_s": for_s,
                "reason": reason,
                "by": actor.name,
            },
        ).one()
        after = {"state": row.state, "until": rfc3339(row.until)}
    action = "breaker.forced" if state != "auto" else "breaker.released"
    subject = f"integration:{integration.name}"
    record(
        session,
        actor=actor,
        action=action,
        object_=subject,
        before={"state": before.state, "until": rfc3339(before.until)} if before else {"state": "auto"},
        after=after,
        reason=reason or None,
    )
    answer = {"name": integration.name, "until": None, "reason": reason, **after}
    append(session, [NewEvent(action, subject, ("system",), answer)])
    return answer
