"""Receive a payment provider's webhook: verify, store once, answer. What it means is worked out later.

Storing is all that can fail here, so a provider that got 200 may forget the message; the job
`payment_watcher` finds what is stored and not processed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from tenure.errors import NotFound
from tenure.kit import signing
from tenure.kit.ids import new_id
from tenure.settings import Settings

_STORE: Final = text("""
    INSERT INTO inbound_event (id, provider, event_id, body, headers)
    VALUES (:id, :provider, :event_id, :body, CAST(:headers AS jsonb))
    ON CONFLICT (provider, event_id) DO NOTHING RETURNING id
""")


@dataclass(frozen=True, slots=True)
class Verified:
    """A webhook whose signature was right."""

    provider: str
    event_id: str
    timestamp: str
    body: bytes


def verify_webhook(
    settings: Settings, provider: str, *, headers: Mapping[str, str], body: bytes, now: int
) -> Verified:
    """The webhook, proved to come from the provider. Raises NotFound, and BadSignature (401).

    `body` is the raw body; `now` unix seconds.
    """
    known = next((one for one in settings.payment_providers if one.name == provider), None)
    if known is None or known.kind != "hmac":
        raise NotFound(f"there is no payment provider {provider!r} that sends webhooks")
    event_id = signing.verify(known.secrets(), headers=headers, body=body, now=now)
    given = {name.lower(): value for name, value in headers.items()}
    return Verified(provider, event_id, given[signing.TIMESTAMP_HEADER], body)


def store_webhook(session: Session, webhook: Verified) -> bool:
    """The webhook is stored; False when its id was stored before."""
    row = session.execute(
        _STORE,
        {
            "id": new_id("inb"),
            "provider": webhook.provider,
            "event_id": webhook.event_id,
            "body": webhook.body,
            "headers": json.dumps({signing.TIMESTAMP_HEADER: webhook.timestamp}),
        },
    )
    return row.first() is not None
