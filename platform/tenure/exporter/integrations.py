"""What is connected: whether it is set up, how it went last by the record, and how its breaker stands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import redis
from sqlalchemy import text
from sqlalchemy.orm import Session

from tenure.integrations.force_breaker import Override, overrides
from tenure.integrations.known import Integration, known
from tenure.kit.breaker import HELD_REASONS, Breakers, Seen, State
from tenure.kit.db import Database
from tenure.kit.logging import get_logger
from tenure.kit.times import rfc3339
from tenure.settings import Settings

_log = get_logger(__name__)
# What the other side said comes before that it was held back from being asked (`:held`).
_OUTSIDE: Final = text("""
    SELECT 'provisioner' AS name, max(applied_at) AS ok_at,
           (SELECT last_error FROM provisioning WHERE state <> 'in_sync' AND last_error IS NOT NULL
            ORDER BY last_error = ANY(:held), next_at DESC LIMIT 1) AS last_error
    FROM provisioning
    UNION ALL
    SELECT channel, max(sent_at),
           (SELECT last_error FROM notice f WHERE f.channel = notice.channel AND f.last_error IS NOT NULL
              AND f.state <> 'sent' ORDER BY f.last_error = ANY(:held), f.id DESC LIMIT 1)
    FROM notice GROUP BY channel
    UNION ALL
    SELECT name, seen_ok_at, last_error FROM payment_source
    UNION ALL
    SELECT 'webhook:' || w.id,
           (SELECT max(delivered_at) FROM webhook_delivery d WHERE d.endpoint_id = w.id),
           (SELECT last_error FROM webhook_delivery d WHERE d.endpoint_id = w.id AND d.last_error IS NOT NULL
              AND d.state <> 'delivered' ORDER BY d.last_error = ANY(:held), d.id DESC LIMIT 1)
    FROM webhook_endpoint w
""")
_TROUBLED: Final = text("SELECT rule, subject, message FROM alert WHERE resolved_at IS NULL")
_NAMES: Final = {"mail": "email"}  # the integration's name -> the channel's name in the record


def integrations(db: Database, live: redis.Redis, settings: Settings) -> list[dict[str, Any]]:
    """Everything outside that this install may use. Without Valkey the breakers' states are `unknown`."""
    with db.transaction() as session:
        found = known(session, settings)
        rows = _from_record(session, found)
        forced = overrides(session)
    seen = _seen(live, [name for one in found for name in one.breakers])
    for one, row in zip(found, rows, strict=True):
        row["breaker"] = _breaker(one, seen, forced.get(one.name)) if one.breakers else None
        if one.configured and row["breaker"] and row["breaker"]["state"] == State.OPEN:
            row["state"] = "degraded"
    return rows


def _from_record(session: Session, found: list[Integration]) -> list[dict[str, Any]]:
    seen = {row["name"]: row for row in session.execute(_OUTSIDE, {"held": list(HELD_REASONS)}).mappings()}
    troubles = [dict(row) for row in session.execute(_TROUBLED).mappings()]
    rows = []
    for one in found:
        row = seen.get(_NAMES.get(one.name, one.name))
        mine = [trouble for trouble in troubles if one.name in f"{trouble['rule']} {trouble['subject']}"]
        error = row["last_error"] if row and row["last_error"] else (mine[0]["message"] if mine else None)
        rows.append(
            {
                "name": one.name,
                "kind": one.kind,
                "configured": one.configured,
                "state": "off" if not one.configured else ("degraded" if error else "ok"),
                "last_ok_at": rfc3339(row["ok_at"]) if row else None,
                "last_error": error if one.configured else None,
            }
        )
    return rows


def _seen(live: redis.Redis, names: list[str]) -> Mapping[str, Seen] | None:
    try:
        return Breakers(live).seen(names)
    except redis.RedisError as error:
        _log.warning("breaker.states_not_read", error_type=type(error).__name__)
        return None


def _breaker(one: Integration, seen: Mapping[str, Seen] | None, forced: Override | None) -> dict[str, Any]:
    nodes = [] if seen is None else [(name, seen[name]) for name in one.breakers]
    # Of several nodes the healthiest speaks: it is the one that is asked.
    best = min((state for _, state in nodes), key=lambda state: _ILLNESS[state.state], default=None)
    automatic = best.state.value if best else "unknown"
    shown: dict[str, Any] = {
        "state": forced.state if forced else automatic,
        "automatic": automatic,
        "forced": forced.shown() if forced else None,
        "failures": best.failures if best else None,
        "retry_after_s": best.wait_s if best else None,
        "opens": sum(state.opens for _, state in nodes),
        "refused": sum(state.refused for _, state in nodes),
        "over_budget": sum(state.over_budget for _, state in nodes),
        "unguarded": sum(state.unguarded for _, state in nodes),
    }
    if len(nodes) > 1:
        shown["nodes"] = [{"name": name, "state": state.state.value} for name, state in nodes]
    return shown


_ILLNESS: Final = {State.CLOSED: 0, State.HALF_OPEN: 1, State.OPEN: 2}
