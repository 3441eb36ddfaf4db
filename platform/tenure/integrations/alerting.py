"""Open an alert for each breaker that is open, resolve those that are not any more."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Final

import redis
from sqlalchemy import text
from sqlalchemy.orm import Session

from tenure.alerts.raise_alert import raise_alert, resolve_alert
from tenure.integrations.force_breaker import Override, overrides
from tenure.integrations.known import known
from tenure.kit.breaker import Breakers, State
from tenure.kit.logging import get_logger
from tenure.settings import Settings

RULE: Final = "breaker_open"
_log = get_logger(__name__)
_OPEN: Final = text("SELECT subject FROM alert WHERE rule = :rule AND resolved_at IS NULL")


def alert_open_breakers(
    transaction: Callable[[], AbstractContextManager[Session]], settings: Settings, breakers: Breakers
) -> int:
    """The alerts say how the breakers stand; how many are open. Without Valkey they stay as they are."""
    with transaction() as session:
        found = known(session, settings)
        forced = overrides(session)
    try:
        seen = breakers.seen([name for one in found for name in one.breakers])
    except redis.RedisError as error:
        _log.warning("breaker.states_not_read", error_type=type(error).__name__)
        return 0
    wanted = {
        name: _message(name, forced.get(one.name))
        for one in found
        for name in one.breakers
        if _is_open(seen[name].state, forced.get(one.name))
    }
    with transaction() as session:
        for subject, message in wanted.items():
            raise_alert(session, rule=RULE, subject=subject, message=message)
        for subject in session.scalars(_OPEN, {"rule": RULE}).all():
            if subject not in wanted:
                resolve_alert(session, rule=RULE, subject=subject)
    return len(wanted)


def _is_open(state: State, forced: Override | None) -> bool:
    return forced.state == "open" if forced else state is not State.CLOSED


def _message(name: str, forced: Override | None) -> str:
    if forced:
        return f"{name} is not called: {forced.set_by_name} forced its breaker open ({forced.reason})"
    return f"{name} is not called: at least five calls failed within a minute"
