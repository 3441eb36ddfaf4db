"""What webhooks ask of the outside: post once, and say truthfully what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Told(Protocol):
    """What one try came to."""

    @property
    def delivered(self) -> bool:
        """Whether the endpoint answered that it took the message (2xx)."""
        ...

    @property
    def status(self) -> int | None:
        """The status of its answer; None when none came."""
        ...

    @property
    def reason(self) -> str:
        """Why it was not delivered."""
        ...

    @property
    def retry_after_s(self) -> float | None:
        """When the endpoint wants to be tried again."""
        ...

    @property
    def held_s(self) -> float | None:
        """Set when nobody was called because the endpoint fails too much: how long that goes on."""
        ...

    @property
    def gone(self) -> bool:
        """Whether the endpoint asks not to be called again (410)."""
        ...


class Post(Protocol):
    """Posts one signed message, once. Safe to share between threads."""

    def __call__(
        self, *, endpoint_id: str, url: str, secrets: Sequence[str], message_id: str, body: bytes
    ) -> Told:
        """Never raises for what the other side does; refuses (BrokenRule) inside a transaction."""
        ...
