"""Plan notices: one row for each channel that the customer has, once for each key.

A row is unique by (subscription, kind, stage, ref, channel), so planning again changes nothing. The job
`notices` sends what is planned; a channel that is not configured is skipped there, with that reason.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.orm import Session


class Kind(StrEnum):
    """What a notice says."""

    TRIAL_STARTED = "trial_started"
    TRIAL_ENDING = "trial_ending"
    PERIOD_ENDING = "period_ending"
    PAST_DUE = "past_due"
    EXPIRED = "expired"
    PAYMENT_CONFIRMED = "payment_confirmed"
    PAYMENT_PROBLEM = "payment_problem"


# Somebody who has just paid waits for an answer; reminders can wait for that.
_PRIORITY: Final = {
    Kind.PAYMENT_CONFIRMED: 0,
    Kind.PAYMENT_PROBLEM: 1,
    Kind.TRIAL_STARTED: 1,
    Kind.EXPIRED: 1,
}
_STAGE_PRIORITY: Final = 2


@dataclass(frozen=True, slots=True)
class Announcement:
    """What is to be told about one subscription. `ref` says about which payment or period."""

    subscription_id: str
    kind: Kind
    ref: str
    stage: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)


_PLAN: Final = text("""
    INSERT INTO notice (id, subscription_id, kind, stage, ref, channel, priority, data, planned_by)
    SELECT tenure_id('ntc'), n.subscription_id, n.kind, n.stage, n.ref, channel.name, n.priority, n.data,
           :iteration_id
    FROM jsonb_to_recordset(CAST(:rows AS jsonb))
         AS n(subscription_id text, kind text, stage text, ref text, priority integer, data jsonb)
    JOIN subscription s ON s.id = n.subscription_id
    JOIN customer c ON c.id = s.customer_id
    CROSS JOIN LATERAL (VALUES
        ('email', c.email IS NOT NULL AND c.email_blocked_at IS NULL),
        ('telegram', c.telegram_chat_id IS NOT NULL AND c.telegram_blocked_at IS NULL)
    ) AS channel(name, had)
    WHERE channel.had
    ON CONFLICT ON CONSTRAINT uq_notice_once DO NOTHING
""")


def announce_all(
    session: Session, announcements: Iterable[Announcement], *, iteration_id: str | None = None
) -> None:
    """Plan the notices in one statement; those that were planned before stay as they are."""
    rows = [
        {
            "subscription_id": one.subscription_id,
            "kind": str(one.kind),
            "stage": one.stage,
            "ref": one.ref,
            "priority": _PRIORITY.get(one.kind, _STAGE_PRIORITY),
            "data": dict(one.data),
        }
        for one in announcements
    ]
    if rows:
        session.execute(_PLAN, {"rows": json.dumps(rows), "iteration_id": iteration_id})


def announce(
    session: Session,
    *,
    subscription_id: str,
    kind: str,
    ref: str,
    stage: str = "",
    data: Mapping[str, Any] | None = None,
    iteration_id: str | None = None,
) -> None:
    """Plan one notice on every channel that the customer has."""
    announce_all(
        session,
        [Announcement(subscription_id, Kind(kind), ref, stage, data or {})],
        iteration_id=iteration_id,
    )
