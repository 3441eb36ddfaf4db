"""What a web process holds: settings, database, the live Valkey, tokens. One per application."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

import redis
from flask import current_app

from tenure.accounts.tokens import Tokens
from tenure.keys.live_ring import LiveRing
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


def install(app: Any, made: Services) -> None:
    """Attach the services to the application."""
    app.extensions[_SLOT] = made


def services() -> Services:
    """The services of the current application."""
    return cast(Services, current_app.extensions[_SLOT])


def of(app: Any) -> Services:
    """The services of this application, outside of any request."""
    return cast(Services, app.extensions[_SLOT])
