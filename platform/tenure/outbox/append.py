"""Append messages in the caller's transaction: they stand exactly when the change stands."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from tenure.kit.ids import new_id
from tenure.outbox.topics import Topic


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message that is about to be written.

    The same `dedupe_key` is the same message, for good. `to` names the receiver, so that one slow receiver
    can be passed over for others. The payload is JSON and holds ids, never a secret.
    """

    dedupe_key: str
    to: str
    payload: Mapping[str, Any]


_INSERT: Final = text("""
    INSERT INTO outbox (id, topic, dedupe_key, payload)
    SELECT m->>'id', :topic, m->>'dedupe_key', m->'payload'
    FROM jsonb_array_elements(CAST(:messages AS jsonb)) AS m
    ON CONFLICT (dedupe_key) DO NOTHING
""")


def append(session: Session, topic: Topic, messages: Iterable[NewMessage]) -> int:
    """Write the messages that are not there yet, in one statement, and return how many those were."""
    rows = [
        {
            "id": new_id("out"),
            "dedupe_key": message.dedupe_key,
            "payload": {**message.payload, "to": message.to},
        }
        for message in messages
    ]
    if not rows:
        return 0
    added = session.execute(_INSERT, {"topic": topic.name, "messages": json.dumps(rows)})
    return int(added.rowcount)  # type: ignore[attr-defined]
