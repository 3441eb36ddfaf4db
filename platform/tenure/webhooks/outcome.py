"""Write down what became of one try: in the outbox, in the delivery, and at the endpoint."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from tenure.alerts.raise_alert import raise_alert, resolve_alert
from tenure.outbox.claim import Claimed, Lapsed
from tenure.outbox.settle import acknowledge, fail, put_back
from tenure.outbox.topics import WEBHOOK
from tenure.webhooks.disable_endpoint import disable_endpoint
from tenure.webhooks.letter import Letter
from tenure.webhooks.ports import Told

_LONGEST_ERROR: Final = 300
_DEAD_RULE: Final = "webhook_dead"

# In every transaction here the endpoint's row comes before the delivery's: a deletion locks them so.
_WELL: Final = text("UPDATE webhook_endpoint SET failures = 0 WHERE id = :id AND failures > 0")
_ILL: Final = text("UPDATE webhook_endpoint SET failures = failures + 1 WHERE id = :id")
_DELIVERED: Final = text("""
    UPDATE webhook_delivery
    SET state = 'delivered', last_status = :status, last_error = NULL, next_at = NULL,
        delivered_at = clock_timestamp()
    WHERE id = :id RETURNING replays
""")
_NOT_DELIVERED: Final = text("""
    UPDATE webhook_delivery
    SET state = CASE WHEN CAST(:next_at AS timestamptz) IS NULL THEN 'dead' ELSE 'failed' END,
        last_status = :status, last_error = :error, next_at = :next_at
    WHERE id = :id RETURNING id
""")
# What the endpoint itself said last is worth more than that it was not asked now.
_NOT_TRIED: Final = text("""
    UPDATE webhook_delivery
    SET attempts = attempts - 1, last_error = coalesce(last_error, :error), next_at = :next_at
    WHERE id = :id
""")
_ANY_DEAD: Final = text("SELECT 1 FROM webhook_delivery WHERE endpoint_id = :id AND state = 'dead' LIMIT 1")
_LAPSED: Final = text("""
    UPDATE webhook_delivery SET state = 'dead', next_at = NULL,
        last_error = 'the sender ended at every try before the answer was written down'
    WHERE id = :id RETURNING endpoint_id, event_id
""")


def write_outcome(session: Session, claimed: Claimed, letter: Letter, told: Told) -> None:
    """Settle the try. Nothing changes when the lease ran out: then the message is somebody else's."""
    if told.delivered:
        _write_success(session, claimed, letter, told)
    elif told.held_s is not None:
        next_at = put_back(session, claimed, reason=told.reason, pause_s=told.held_s)
        if next_at is not None:
            session.execute(_NOT_TRIED, {"id": letter.delivery_id, "error": told.reason, "next_at": next_at})
    else:
        _write_failure(session, claimed, letter, told)


def write_lapsed(session: Session, lapsed: Iterable[Lapsed]) -> None:
    """Deliveries whose sender vanished at the last try are dead."""
    for one in lapsed:
        row = session.execute(_LAPSED, {"id": one.payload["delivery_id"]}).first()
        if row is not None:
            _alert(session, row.endpoint_id, one.payload["delivery_id"], row.event_id)


def _write_success(session: Session, claimed: Claimed, letter: Letter, told: Told) -> None:
    if not acknowledge(session, claimed):
        return
    session.execute(_WELL, {"id": letter.endpoint_id})
    row = session.execute(_DELIVERED, {"id": letter.delivery_id, "status": told.status}).first()
    if row is not None and row.replays and not session.execute(_ANY_DEAD, {"id": letter.endpoint_id}).first():
        resolve_alert(session, rule=_DEAD_RULE, subject=letter.endpoint_id)


def _write_failure(session: Session, claimed: Claimed, letter: Letter, told: Told) -> None:
    # The other side's words may hold what PostgreSQL cannot.
    error = told.reason.replace("\x00", "")[:_LONGEST_ERROR]
    failed = fail(session, claimed, error=error, at_least_s=told.retry_after_s, final=told.gone)
    if failed is None:
        return
    session.execute(_ILL, {"id": letter.endpoint_id})
    kept = session.execute(
        _NOT_DELIVERED,
        {"id": letter.delivery_id, "status": told.status, "error": error, "next_at": failed.next_at},
    ).first()
    if kept is None:
        return
    if told.gone:
        disable_endpoint(session, letter.endpoint_id, reason="it answered 410 Gone")
    elif failed.next_at is None:
        _alert(session, letter.endpoint_id, letter.delivery_id, letter.event_id)


def _alert(session: Session, endpoint_id: str, delivery_id: str, event_id: str) -> None:
    raise_alert(
        session,
        rule=_DEAD_RULE,
        subject=endpoint_id,
        message=f"the event {event_id} was not taken in {WEBHOOK.attempts} tries; "
        "replay its delivery when the endpoint is well again",
        data={"endpoint_id": endpoint_id, "delivery_id": delivery_id, "event_id": event_id},
    )
