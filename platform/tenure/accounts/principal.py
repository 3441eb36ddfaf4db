"""The principal: who a request acts for, and what that role may do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Role(StrEnum):
    """What somebody may do; each role may do all that the ones before it may."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"


_RANK: Final = {Role.VIEWER: 0, Role.OPERATOR: 1, Role.ADMIN: 2}


@dataclass(frozen=True, slots=True)
class Principal:
    """A user or an API key that has proved itself. `expires_at` is unix seconds; None: does not expire."""

    kind: str
    id: str
    role: Role
    label: str
    session_id: str | None = None
    expires_at: int | None = None

    @property
    def name(self) -> str:
        """As the audit log writes it: `user:<id>` or `key:<id>`."""
        return f"{self.kind}:{self.id}"

    def may(self, needed: Role) -> bool:
        """Whether this principal's role includes the needed one."""
        return _RANK[self.role] >= _RANK[needed]
