"""What notices ask of the outside: hand over one message once, and say truthfully what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Message:
    """One notice, ready to go. `to` is an e-mail address, a chat id or a URL, as the channel needs."""

    notice_id: str
    kind: str
    stage: str | None
    to: str
    subject: str
    text: str

    @property
    def label(self) -> str:
        """The kind with its stage, or alone without one."""
        return f"{self.kind}/{self.stage}" if self.stage else self.kind


@dataclass(frozen=True, slots=True)
class Sent:
    """The other side answered that it took the message."""

    provider_message_id: str | None = None


@dataclass(frozen=True, slots=True)
class Unsent:
    """Certainly not taken, and a later try may succeed. `retry_after_s` is the other side's wish."""

    reason: str
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """Certainly not taken, and the same message will be refused again (blocked, no such mailbox)."""

    reason: str
    code: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """Written without an answer: it may or may not have arrived."""

    reason: str


@dataclass(frozen=True, slots=True)
class NotTried:
    """Nobody was called: the channel rests, or its pace is full. `after_s` is when a try makes sense."""

    reason: str
    after_s: float


Outcome = Sent | Unsent | Refused | Unknown | NotTried


class Sender(Protocol):
    """One channel. Safe to share between threads; build it in the process that uses it."""

    @property
    def channel(self) -> str:
        """`email`, `telegram` or `webhook`."""
        ...

    def send(self, message: Message) -> Outcome:
        """Try once. Never raises for what the other side does; refuses (BrokenRule) inside a transaction."""
        ...

    def close(self) -> None:
        """Give kept connections back; the next `send` opens new ones."""
        ...
