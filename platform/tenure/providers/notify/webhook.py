"""Signed posts to webhook endpoints, as Standard Webhooks has them: one try, told truthfully.

Used for events to endpoints and for notices on the channel `webhook`. Repeating is the caller's: the same
message id makes a repeat harmless.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tenure.kit import clock, signing
from tenure.kit.breaker import Held
from tenure.kit.http import Bounds, ErrorAnswer, HttpDoor, Unanswered, Unsent

_GONE: Final = 410
_WEBHOOK_BOUNDS: Final = Bounds(connect_s=5, read_s=15, total_s=15)


@dataclass(frozen=True, slots=True)
class Delivery:
    """What one try came to. `gone`: the endpoint asks not to be called again (410).

    `held_s`: nobody was called, and for how long there is no use in trying.
    """

    delivered: bool
    status: int | None
    reason: str
    retry_after_s: float | None = None
    held_s: float | None = None

    @property
    def gone(self) -> bool:
        return self.status == _GONE


def post(
    door: HttpDoor,
    *,
    url: str,
    secrets: Sequence[str],
    message_id: str,
    body: bytes,
    bounds: Bounds = _WEBHOOK_BOUNDS,
) -> Delivery:
    """Post once, signed with every live secret. Never raises for what the other side does."""
    headers = signing.signed_headers(
        secrets, message_id=message_id, timestamp=clock.unix_seconds(), body=body
    )
    headers["content-type"] = "application/json"
    try:
        answer = door.request("POST", url, headers=headers, body=body, bounds=bounds)
    except Held as held:
        return Delivery(delivered=False, status=None, reason=held.reason, held_s=held.retry_after_s)
    except Unsent as error:
        return Delivery(delivered=False, status=None, reason=error.reason)
    except Unanswered as error:
        return Delivery(error.answered_status is not None, error.answered_status, error.reason)
    except ErrorAnswer as error:
        status = error.answered_status
        reason = f"status {status}: {error.excerpt}"
        return Delivery(delivered=False, status=status, reason=reason, retry_after_s=error.retry_after_s)
    return Delivery(delivered=True, status=answer.status, reason="")
