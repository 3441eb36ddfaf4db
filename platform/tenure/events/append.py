"""Append events in the caller's transaction.

An event names its subject (`kind:id`) and the channels that carry it: broad ones (`iterations`,
`subscriptions`, `payments`, `queues`, `alerts`, `system`) and object channels (`subscription:<id>`,
`invoice:<id>`, `slot:<id>`). A trigger hands it to the relay, which gives it its place in the order.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from tenure.kit.ids import new_id

BROAD_CHANNELS: Final = frozenset({"iterations", "subscriptions", "payments", "queues", "alerts", "system"})
OBJECT_CHANNELS: Final = frozenset({"subscription", "invoice", "slot"})


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event that is about to be written. `data` must be JSON: money and crypto amounts as in the API."""

    type: str
    subject: str
    channels: tuple[str, ...]
    data: Mapping[str, Any] = field(default_factory=dict)
    subscription_id: str | None = None
    iteration_id: str | None = None


_INSERT: Final = text("""
    INSERT INTO event (id, type, subject, channels, subscription_id, iteration_id, data)
    SELECT e->>'id', e->>'type', e->>'subject', ARRAY(SELECT jsonb_array_elements_text(e->'channels')),
           e->>'subscription_id', e->>'iteration_id', e->'data'
    FROM jsonb_array_elements(CAST(:events AS jsonb)) WITH ORDINALITY AS given (e, n)
    ORDER BY n
""")


def append(session: Session, events: Iterable[NewEvent]) -> list[str]:
    """Write the events in one statement, in this order, and return their ids."""
    rows: list[dict[str, Any]] = [
        {
            "id": new_id("evt"),
            "type": event.type,
            "subject": event.subject,
            "channels": list(event.channels),
            "subscription_id": event.subscription_id,
            "iteration_id": event.iteration_id,
            "data": dict(event.data),
        }
        for event in events
    ]
    if rows:
        session.execute(_INSERT, {"events": json.dumps(rows)})
    return [row["id"] for row in rows]


def subscription_event(
    type_: str, subscription_id: str, data: Mapping[str, Any], *, iteration_id: str | None = None
) -> NewEvent:
    """An event about a subscription, on its own channel and on the broad one."""
    return NewEvent(
        type=type_,
        subject=f"subscription:{subscription_id}",
        channels=("subscriptions", f"subscription:{subscription_id}"),
        data=data,
        subscription_id=subscription_id,
        iteration_id=iteration_id,
    )
