"""The customer's service over HTTP: one signed, idempotent PUT for each generation of an account."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import quote

from tenure.kit import clock, signing
from tenure.kit.breaker import Held
from tenure.kit.http import AddressRefused, Bounds, ErrorAnswer, HttpDoor, Unanswered, Unsent
from tenure.kit.times import rfc3339
from tenure.provisioning.ports import Account, Applied, Blocked, NotAsked, Outcome, Retry, Superseded

_CONFLICT: Final = 409
_THROTTLED: Final = 429
_SERVER_ERROR: Final = 500


class HttpProvisioner:
    """Speaks `PUT {url}/accounts/{subscription_id}`, signed like our webhooks."""

    def __init__(
        self, door: HttpDoor, *, url: str, secrets: Sequence[str], bounds: Bounds | None = None
    ) -> None:
        """Several secrets: the request carries a signature by each, so that one can be changed."""
        self._door = door
        self._url = url.rstrip("/")
        self._secrets = tuple(secrets)
        self._bounds = bounds or Bounds()

    def put_account(self, account: Account) -> Outcome:
        """Ask once for this state; the outcome says whether the service has it."""
        key = account.idempotency_key
        body = json.dumps(_body(account), separators=(",", ":")).encode()
        headers = signing.signed_headers(
            self._secrets, message_id=key, timestamp=clock.unix_seconds(), body=body
        )
        headers |= {"idempotency-key": key, "content-type": "application/json"}
        url = f"{self._url}/accounts/{quote(account.subscription_id, safe='')}"
        try:
            self._door.request("PUT", url, headers=headers, body=body, bounds=self._bounds)
        except Held as held:
            return NotAsked(held.reason)
        except AddressRefused as error:
            return Blocked(None, error.message)
        except Unsent as error:
            return Retry(error.reason)
        except Unanswered as error:
            # A 2xx head is the answer, whatever became of the body.
            return Retry(error.reason) if error.answered_status is None else Applied(account.generation)
        except ErrorAnswer as error:
            return _judged(error, account)
        return Applied(account.generation)


def _body(account: Account) -> dict[str, Any]:
    return {
        "enabled": account.enabled,
        "access_until": rfc3339(account.access_until),
        "generation": account.generation,
        "plan": account.plan,
        "customer": {"external_id": account.external_id, "email": account.email},
    }


def _judged(error: ErrorAnswer, account: Account) -> Outcome:
    status = error.answered_status
    if status == _THROTTLED or status >= _SERVER_ERROR:
        return Retry(f"status {status}", error.retry_after_s)
    if status == _CONFLICT:
        newer = _generation(error.body)
        if newer is not None and newer > account.generation:
            return Superseded(newer)
    return Blocked(status, error.excerpt)


def _generation(body: bytes) -> int | None:
    try:
        told = json.loads(body)
    except ValueError:
        return None
    generation = told.get("generation") if isinstance(told, dict) else None
    return generation if type(generation) is int else None
