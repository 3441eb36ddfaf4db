"""Notices over the Telegram Bot API. It has no idempotency key: without an answer the outcome is unknown."""

from __future__ import annotations

import json
import time
from typing import Any, Final

import redis

from tenure.kit.breaker import Held
from tenure.kit.http import Bounds, ErrorAnswer, HttpDoor, Unanswered, Unsent
from tenure.kit.logging import get_logger, masked
from tenure.kit.pace import Pace, Rate
from tenure.notices.ports import Message, NotTried, Outcome, Refused, Sent, Unknown
from tenure.notices.ports import Unsent as NotSent

_LONGEST_TEXT: Final = 4096
# What the Bot API means by these for one message: the chat does not exist or took no messages from us.
_REFUSING: Final = {400: "bad_request", 403: "blocked"}

# The Bot API's own guidance: about 30 messages a second of one bot, one a second to one chat.
TOTAL: Final = Rate(per_s=30, burst=30)
EACH_CHAT: Final = Rate(per_s=1)
# For a place within this time the sender waits; for a later one the notice is put back.
_LONGEST_WAIT_S: Final = 1.1
_log = get_logger(__name__)


class TelegramSender:
    """Sends by `sendMessage`, plain text."""

    channel: Final = "telegram"

    def __init__(
        self,
        door: HttpDoor,
        *,
        token: str,
        api_url: str,
        bounds: Bounds | None = None,
        pace: Pace | None = None,
    ) -> None:
        """The token goes into the path; the door's errors never show paths. `pace` is kept if given."""
        self._pace = pace
        self._door = door
        self._url = f"{api_url.rstrip('/')}/bot{token}/sendMessage"
        self._bounds = bounds or Bounds()

    def send(self, message: Message) -> Outcome:
        text = f"{message.subject}\n\n{message.text}" if message.subject else message.text
        too_early_s = self._keep_pace(message.to)
        if too_early_s:
            return NotTried("pace", too_early_s)
        payload = {"chat_id": message.to, "text": text[:_LONGEST_TEXT]}
        try:
            answer = self._door.request("POST", self._url, json=payload, bounds=self._bounds)
        except Held as held:
            return NotTried(held.reason, held.retry_after_s)
        except Unsent as error:
            return NotSent(error.reason)
        except Unanswered as error:
            return Unknown(error.reason) if error.answered_status is None else Sent()
        except ErrorAnswer as error:
            return _judged(error)
        return Sent(_message_id(answer.body))

    def _keep_pace(self, chat: str) -> float:
        """Wait for this chat's place; else after how many seconds there is one. Without Valkey: now."""
        if self._pace is None:
            return 0.0
        try:
            place = self._pace.reserve(chat, longest_s=_LONGEST_WAIT_S)
        except redis.RedisError as error:
            _log.warning("pace.not_kept", error_type=type(error).__name__)
            return 0.0
        if not place.taken:
            return place.wait_s
        time.sleep(place.wait_s)
        return 0.0

    def close(self) -> None:
        """Connections belong to the door."""


def _judged(error: ErrorAnswer) -> Outcome:
    status, told = error.answered_status, _object(error.body)
    description = masked(str(told.get("description", "")))
    if status in _REFUSING:
        return Refused(description or f"status {status}", _REFUSING[status])
    parameters = told.get("parameters")
    wish = parameters.get("retry_after") if isinstance(parameters, dict) else None
    seconds = float(wish) if isinstance(wish, int | float) else error.retry_after_s
    return NotSent(f"status {status}", seconds)


def _message_id(body: bytes) -> str | None:
    result = _object(body).get("result")
    number = result.get("message_id") if isinstance(result, dict) else None
    return str(number) if number is not None else None


def _object(body: bytes) -> dict[str, Any]:
    try:
        told = json.loads(body)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}
