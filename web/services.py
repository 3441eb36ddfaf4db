"""What a web process holds: settings, database, the live Valkey, tokens. One per application."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, cast

import redis
from flask import current_app

from tenure.accounts.tokens import Tokens
from tenure.keys.live_ring import LiveRing
from tenure.kit import clock
from tenure.kit.db import Database, StatementDoor
from tenure.settings import Settings

if TYPE_CHECKING:
    from web.limits import Gate
    from web.live.hub import Hub

_SLOT: Final = "tenure"
VALKEY_S: Final = 2.0  # a request does not wait longer for Valkey


@dataclass(slots=True)
class Services:
    """The process's doors. `hub` is None where the server cannot hand over sockets (flask run)."""

    settings: Settings
    db: Database
    live: redis.Redis
    broker: redis.Redis
    door: StatementDoor
    keys: LiveRing
    tokens: Tokens
    gate: Gate
    hub: Hub | None = None
    draining: bool = False
    # When webhooks came in here last, by what happened and hook; the hub shows it to everybody.
    hook_times: dict[tuple[str, str], int] = field(default_factory=dict)

    def came_in(self, hook: str, what: str) -> None:
        """A webhook was received, or proved to be from whom it says."""
        self.hook_times[what, hook] = clock.unix_seconds()


def install(app: Any, made: Services) -> None:
    """Attach the services to the application."""
    app.extensions[_SLOT] = made


def services() -> Services:
    """The services of the current application."""
    return cast(Services, current_app.extensions[_SLOT])


def of(app: Any) -> Services:
    """The services of this application, outside of any request."""
    return cast(Services, app.extensions[_SLOT])
