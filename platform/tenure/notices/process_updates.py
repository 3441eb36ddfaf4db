"""Work out what stored updates of the bot mean: who blocked it cannot be reached, who came back can.

`my_chat_member` tells both; `/start` or any message of a person is a sign that they can be reached as well.
Everything else is kept and ignored.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from tenure.iterations.run import Run

_BATCH: Final = 100
_GONE: Final = {"kicked", "left", "restricted"}
_HERE: Final = {"member", "administrator", "creator"}

_WAITING: Final = text("""
    SELECT update_id, kind, body FROM telegram_update WHERE processed_at IS NULL
    ORDER BY update_id LIMIT :batch FOR UPDATE SKIP LOCKED
""")
_PROCESSED: Final = text("""
    UPDATE telegram_update SET processed_at = clock_timestamp(), result = :result
    WHERE update_id = :update_id
""")
_BLOCK: Final = text("""
    UPDATE customer SET telegram_blocked_at = clock_timestamp()
    WHERE telegram_chat_id = :chat AND telegram_blocked_at IS NULL
""")
_UNBLOCK: Final = text("""
    UPDATE customer SET telegram_blocked_at = NULL
    WHERE telegram_chat_id = :chat AND telegram_blocked_at IS NOT NULL
""")


def process_updates(run: Run) -> int:
    """Everything stored is processed, as far as there is time; how many updates were."""
    total, batch = 0, _BATCH
    while batch == _BATCH and run.has_time:
        with run.transaction() as session:
            rows = session.execute(_WAITING, {"batch": _BATCH}).all()
            for row in rows:
                result = _apply(session, row.kind, bytes(row.body))
                session.execute(_PROCESSED, {"update_id": row.update_id, "result": result})
        batch = len(rows)
        total += batch
    run.counters.seen += total
    run.counters.done += total
    return total


def _apply(session: Session, kind: str, body: bytes) -> str:
    told = json.loads(body)  # stored only after it was parsed
    content: Any = told.get(kind)
    chat = content.get("chat") if isinstance(content, Mapping) else None
    chat_id = chat.get("id") if isinstance(chat, Mapping) else None
    if kind not in {"my_chat_member", "message"}:
        return "ignored"
    if not isinstance(chat_id, int) or isinstance(chat_id, bool):
        return "unusable"
    change = _change(kind, content)
    if change is None:
        return "ignored"
    session.execute(_BLOCK if change == "blocked" else _UNBLOCK, {"chat": str(chat_id)})
    return change


def _change(kind: str, content: Mapping[str, Any]) -> str | None:
    if kind == "message":
        return "unblocked"
    member = content.get("new_chat_member")
    status = member.get("status") if isinstance(member, Mapping) else None
    return "blocked" if status in _GONE else "unblocked" if status in _HERE else None
