"""Subscription rows under lock: read with what the rules need, saved together with what follows.

The row lock is what serialises everything that happens to one subscription: payments, operators, expiry.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any, Final

from sqlalchemy import RowMapping, TextClause, text
from sqlalchemy.orm import Session

from tenure.errors import NotFound
from tenure.kit.times import rfc3339
from tenure.subscriptions.rules import State, Status, Terms

_STATE_COLUMNS: Final = tuple(field.name for field in fields(State))

# Everything a `Locked` is made from, for statements that claim rows in their own way.
COLUMNS: Final = ", ".join(
    [
        "s.id, s.customer_id, s.plan_code, s.plan_snapshot, s.holds",
        *(f"s.{name}" for name in _STATE_COLUMNS),
        "c.timezone, c.external_id, tenure_now() AS now",
    ]
)

_LOCK: Final = text(f"""
    SELECT {COLUMNS} FROM subscription s JOIN customer c ON c.id = s.customer_id
    WHERE s.id = ANY(:ids) ORDER BY s.id FOR NO KEY UPDATE OF s
""")

_TIMES: Final = frozenset({"anchor_at", "period_start", "period_end", "grace_until", "paused_at", "ended_at"})
_TYPES: Final = {
    **dict.fromkeys(_TIMES, "timestamptz"),
    "status": "text",
    "paused_from": "text",
    "is_trial": "boolean",
    "cancel_at_period_end": "boolean",
}

# `remind_at` makes the planner of reminders look again: every change may move, add or end a stage.
_SAVE: Final = text(f"""
    UPDATE subscription s
    SET {", ".join(f"{name} = n.{name}" for name in _STATE_COLUMNS)},
        remind_at = CASE WHEN jsonb_array_length(s.plan_snapshot->'reminders') > 0
                          AND n.period_end IS NOT NULL THEN tenure_now() END,
        version = s.version + 1, updated_at = clock_timestamp()
    FROM jsonb_to_recordset(CAST(:rows AS jsonb))
         AS n(id text, {", ".join(f"{name} {_TYPES.get(name, 'integer')}" for name in _STATE_COLUMNS)})
    WHERE s.id = n.id
""")


@dataclass(frozen=True, slots=True)
class Locked:
    """A subscription that this transaction has locked. `now` is domain time."""

    id: str
    customer_id: str
    external_id: str
    plan: Mapping[str, Any]
    holds: int
    state: State
    terms: Terms
    now: datetime


def locked_from(values: RowMapping) -> Locked:
    """From a row of a statement that selected COLUMNS and locked."""
    state = {name: values[name] for name in _STATE_COLUMNS}
    state["status"] = Status(state["status"])
    state["paused_from"] = Status(state["paused_from"]) if state["paused_from"] else None
    return Locked(
        id=values["id"],
        customer_id=values["customer_id"],
        external_id=values["external_id"],
        plan=values["plan_snapshot"],
        holds=values["holds"],
        state=State(**state),
        terms=Terms.of(values["plan_snapshot"], values["timezone"]),
        now=values["now"],
    )


def lock(session: Session, subscription_id: str) -> Locked:
    """Lock one subscription. Raises NotFound."""
    row = session.execute(_LOCK, {"ids": [subscription_id]}).mappings().first()
    if row is None:
        raise NotFound(f"there is no subscription {subscription_id!r}")
    return locked_from(row)


def claim(session: Session, statement: TextClause, parameters: Mapping[str, Any]) -> list[Locked]:
    """Lock the rows that the statement (selecting COLUMNS) finds."""
    return [locked_from(row) for row in session.execute(statement, dict(parameters)).mappings()]


def save(session: Session, changes: Iterable[tuple[str, State]]) -> None:
    """Write the states of locked subscriptions in one statement."""
    rows = [{"id": id_, **_as_json(state)} for id_, state in changes]
    if rows:
        session.execute(_SAVE, {"rows": json.dumps(rows)})


def lock_free_columns() -> str:
    """The same columns without what only a lock makes meaningful, for queries that show a subscription."""
    names = ["id", "customer_id", "plan_code", "plan_snapshot", *_STATE_COLUMNS]
    return ", ".join(f"s.{name}" for name in names)


def insert_columns() -> Sequence[str]:
    """The names of the state's columns, for the statement that adds a subscription."""
    return _STATE_COLUMNS


def state_values(state: State) -> dict[str, Any]:
    """The state as parameters of a statement."""
    return {
        name: (str(value) if isinstance(value, Status) else value) for name, value in asdict(state).items()
    }


def _as_json(state: State) -> dict[str, Any]:
    values = state_values(state)
    return {name: value.isoformat() if name in _TIMES and value else value for name, value in values.items()}


def facts(state: State) -> dict[str, Any]:
    """What events tell about a subscription."""
    return {
        "status": str(state.status),
        "period_no": state.period_no,
        "period_start": rfc3339(state.period_start),
        "period_end": rfc3339(state.period_end),
        "grace_until": rfc3339(state.grace_until),
        "access_until": rfc3339(state.access_until),
        "cancel_at_period_end": state.cancel_at_period_end,
    }


def period_ref(state: State) -> str:
    """Names the current period's end in the keys of notices: a moved end is another one."""
    return f"{state.period_no}.{state.end_moves}" if state.end_moves else str(state.period_no)
