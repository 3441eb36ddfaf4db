"""A stand-in for the Telegram Bot API: `sendMessage`, `getMe`, blocked chats, and limits on demand."""

from __future__ import annotations

import re
import threading
from pathlib import Path
from typing import Any, Final

import click

from tenure import settings
from tenure.kit import clock
from tenure.standins.faults import Fault
from tenure.standins.httpserver import HttpStandIn, Reply, Request, run_until_stopped

_METHOD: Final = re.compile(r"/bot([^/]+)/(\w+)")
_LONGEST_TEXT: Final = 4096


class TelegramStandIn(HttpStandIn):
    """Speaks `POST /bot{token}/sendMessage`; controls are `/messages` and `POST /blocked`."""

    def __init__(self, *, token: str, port: int = 0, host: str = "127.0.0.1") -> None:
        """Only the bot with this token is known."""
        self._token = token
        self._lock = threading.Lock()
        self._messages: list[dict[str, Any]] = []
        self._blocked: set[str] = set()
        super().__init__(port=port, host=host)

    @property
    def messages(self) -> list[dict[str, Any]]:
        """What was accepted, oldest first: `message_id, chat_id, text, date`."""
        with self._lock:
            return list(self._messages)

    def block(self, chat_id: str) -> None:
        """From now on this chat's person has blocked the bot."""
        with self._lock:
            self._blocked.add(chat_id)

    def answer(self, request: Request) -> Reply:
        method = _METHOD.fullmatch(request.path)
        if method is not None:
            return self._called(method[1], method[2], request)
        if request.path == "/messages":
            if request.method == "DELETE":
                with self._lock:
                    self._messages.clear()
            return Reply(200, {"items": self.messages})
        if request.path == "/blocked" and request.method == "POST":
            self.block(str(request.json()["chat_id"]))
            return Reply(200, {})
        return _error(404, "Not Found")

    def fault_reply(self, fault: Fault) -> Reply:
        if fault.retry_after_s is None:
            return _error(fault.status, "planned fault")
        reply = _error(fault.status, f"Too Many Requests: retry after {fault.retry_after_s}")
        reply.body["parameters"] = {"retry_after": fault.retry_after_s}
        return reply

    def _called(self, token: str, method: str, request: Request) -> Reply:
        if token != self._token:
            return _error(401, "Unauthorized")
        if method == "getMe":
            return Reply(200, {"ok": True, "result": {"id": 1, "is_bot": True, "username": "stand_in_bot"}})
        if method != "sendMessage":
            return _error(404, "Not Found: this stand-in knows sendMessage and getMe alone")
        given = request.json()
        chat_id = str(given.get("chat_id", "")) if isinstance(given, dict) else ""
        return self.suffer(self.faults.take(chat_id), lambda: self._send_message(chat_id, given))

    def _send_message(self, chat_id: str, given: Any) -> Reply:
        text = given.get("text") if isinstance(given, dict) else None
        if not chat_id:
            return _error(400, "Bad Request: chat_id is empty")
        if not isinstance(text, str) or not text.strip():
            return _error(400, "Bad Request: message text is empty")
        if len(text) > _LONGEST_TEXT:
            return _error(400, "Bad Request: message is too long")
        with self._lock:
            if chat_id in self._blocked:
                return _error(403, "Forbidden: bot was blocked by the user")
            message = {
                "message_id": len(self._messages) + 1,
                "chat_id": chat_id,
                "text": text,
                "date": clock.unix_seconds(),
            }
            self._messages.append(message)
        told = {"message_id": message["message_id"], "date": message["date"], "text": text}
        return Reply(200, {"ok": True, "result": {**told, "chat": {"id": chat_id, "type": "private"}}})


def _error(code: int, description: str) -> Reply:
    return Reply(code, {"ok": False, "error_code": code, "description": description})


@click.command()
@click.option("--port", type=int, default=0, help="0 takes a free port.")
@click.option("--host", default="127.0.0.1")
@click.option("--token-file", type=click.Path(path_type=Path, exists=True), help="Default: the setting.")
def main(port: int, host: str, token_file: Path | None) -> None:
    """Run the stand-in Bot API until it is stopped."""
    if token_file is not None:
        token = token_file.read_text(encoding="utf-8").strip()
    else:
        setting = settings.load().telegram_token
        token = setting.get_secret_value() if setting is not None else ""
    if not token:
        raise click.UsageError("give --token-file or set TENURE_TELEGRAM_TOKEN")
    run_until_stopped(TelegramStandIn(token=token, port=port, host=host))


if __name__ == "__main__":
    main()
