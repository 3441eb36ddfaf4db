"""Open and resolve alerts; both are safe to repeat."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, Literal

from sqlalchemy import text
from sqlalchemy.orm import Session

from tenure.kit.ids import new_id

Severity = Literal["info", "warning", "critical"]

# `channels` and the event are in the statement itself, so that an alert is told exactly when it opens.
_OPEN: Final = text("""
    WITH opened AS (
        INSERT INTO alert (id, rule, subject, severity, message, data)
        VALUES (:id, :rule, :subject, :severity, :message, CAST(:data AS jsonb))
        ON CONFLICT (rule, subject) WHERE resolved_at IS NULL
        DO UPDATE SET count = alert.count + 1, last_seen_at = clock_timestamp(), message = excluded.message,
                      severity = excluded.severity, data = excluded.data
        RETURNING id, count
    )
    INSERT INTO event (id, type, subject, channels, data)
    SELECT tenure_id('evt'), 'alert.opened', 'alert:' || id, ARRAY['alerts'],
           jsonb_build_object('id', id, 'rule', CAST(:rule AS text), 'subject', CAST(:subject AS text),
                              'severity', CAST(:severity AS text), 'message', CAST(:message AS text))
    FROM opened WHERE count = 1
""")

_RESOLVE: Final = text("""
    WITH resolved AS (
        UPDATE alert SET resolved_at = clock_timestamp()
        WHERE rule = :rule AND subject = :subject AND resolved_at IS NULL
        RETURNING id, rule, subject, severity, message
    )
    INSERT INTO event (id, type, subject, channels, data)
    SELECT tenure_id('evt'), 'alert.resolved', 'alert:' || id, ARRAY['alerts'],
           jsonb_build_object('id', id, 'rule', rule, 'subject', subject, 'severity', severity,
                              'message', message)
    FROM resolved
""")


def raise_alert(
    session: Session,
    *,
    rule: str,
    subject: str,
    message: str,
    severity: Severity = "warning",
    data: Mapping[str, Any] | None = None,
) -> None:
    """Open an alert, or count it again when it is open already. The first time is told as an event."""
    session.execute(
        _OPEN,
        {
            "id": new_id("alr"),
            "rule": rule,
            "subject": subject,
            "severity": severity,
            "message": message,
            "data": json.dumps(dict(data or {})),
        },
    )


def resolve_alert(session: Session, *, rule: str, subject: str) -> None:
    """Close the alert if it is open; otherwise nothing changes."""
    session.execute(_RESOLVE, {"rule": rule, "subject": subject})
