"""What provisioning asks of the outside: put one account into one state, and say what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Account:
    """The state an account shall have; `generation` says which of two states is the newer one."""

    subscription_id: str
    generation: int
    enabled: bool
    access_until: datetime | None
    plan: str
    external_id: str
    email: str | None

    @property
    def idempotency_key(self) -> str:
        """The same for every repeat of this generation."""
        return f"prov:{self.subscription_id}:{self.generation}"


@dataclass(frozen=True, slots=True)
class Applied:
    """The provisioner has this generation (now or since earlier)."""

    generation: int


@dataclass(frozen=True, slots=True)
class Superseded:
    """The provisioner already has a higher generation; nothing was changed."""

    generation: int


@dataclass(frozen=True, slots=True)
class Retry:
    """Not applied, or not known to be: the same call again is right. `after_s` is the other side's wish."""

    reason: str
    after_s: float | None = None


@dataclass(frozen=True, slots=True)
class Blocked:
    """Refused for good: a person must look. `status` is None when no answer was needed to know."""

    status: int | None
    excerpt: str


@dataclass(frozen=True, slots=True)
class NotAsked:
    """The service was not called, because it fails too much at present."""

    reason: str


Outcome = Applied | Superseded | Retry | Blocked | NotAsked


class Provisioner(Protocol):
    """The service whose accounts the subscriptions switch on and off."""

    def put_account(self, account: Account) -> Outcome:
        """Ask once. Never raises for what the other side does; refuses (BrokenRule) inside a transaction."""
        ...
