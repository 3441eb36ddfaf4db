"""Receive an update of the Telegram bot: verify, store once, answer. What it means is worked out later."""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from tenure.errors import Invalid, Unauthenticated
from tenure.settings import Settings

HEADER: Final = "X-Telegram-Bot-Api-Secret-Token"
_LARGEST_ID: Final = 2**63 - 1
_KIND: Final = re.compile(r"[a-z_]{1,64}")
_STORE: Final = text("""
    INSERT INTO telegram_update (update_id, kind, body) VALUES (:update_id, :kind, :body)
    ON CONFLICT (update_id) DO NOTHING RETURNING update_id
""")


class BadSecret(Unauthenticated):
    """The secret token is missing or wrong."""

    code = "bad_secret"


def verify_secret(settings: Settings, given: str | None) -> None:
    """Raise BadSecret unless this is the secret that Telegram was told; without one nothing is right.

    Compared in constant time, also when none is set.
    """
    known = settings.telegram_webhook_secret
    expected = known.get_secret_value().encode() if known is not None else b""
    same = hmac.compare_digest(expected, (given or "").encode("utf-8", "surrogateescape"))
    if not (same and expected):
        raise BadSecret


def update_of(told: Any) -> tuple[int, str]:
    """Number and kind of an update; a kind that is no name is `other`. Raises Invalid for what is none."""
    update_id = told.get("update_id") if isinstance(told, Mapping) else None
    if not isinstance(update_id, int) or isinstance(update_id, bool) or not 0 <= update_id <= _LARGEST_ID:
        raise Invalid.field("update_id", "integer", "an update has a number")
    kind = next((key for key in told if key != "update_id"), "")
    return update_id, kind if _KIND.fullmatch(kind) else "other"


def store_update(session: Session, update_id: int, kind: str, body: bytes) -> bool:
    """The update is stored; False when its number was stored before."""
    values = {"update_id": update_id, "kind": kind, "body": body}
    return session.execute(_STORE, values).first() is not None
