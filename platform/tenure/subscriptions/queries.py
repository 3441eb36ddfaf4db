"""Subscriptions and entitlements as the API shows them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import RowMapping, text
from sqlalchemy.orm import Session

from tenure.errors import NotFound
from tenure.kit.times import rfc3339
from tenure.subscriptions.row import lock_free_columns

_SELECT: Final = f"""
    SELECT {lock_free_columns()}, s.auto_renew, s.access_until, s.payable_until, s.payable_source, s.version,
           s.created_at, s.updated_at, c.external_id, p.enabled, p.desired_generation,
           p.applied_generation, p.state AS provisioning_state, p.last_error AS provisioning_error,
           p.attempts AS provisioning_attempts, p.applied_at,
           (SELECT coalesce(jsonb_agg(jsonb_build_object('kind', h.kind, 'ref', h.ref,
                                                         'since', tenure_rfc3339(h.created_at))
                                      ORDER BY h.created_at), '[]'::jsonb)
            FROM hold h WHERE h.subscription_id = s.id AND s.holds > 0) AS held
    FROM subscription s
    JOIN customer c ON c.id = s.customer_id
    JOIN provisioning p ON p.subscription_id = s.id
"""
_OF_ONE: Final = "s.customer_id IN (SELECT id FROM customer WHERE id = :customer OR external_id = :customer)"
_ONE: Final = text(f"{_SELECT} WHERE s.id = :id")
_OF_CUSTOMER: Final = text(f"{_SELECT} WHERE c.external_id = :external_id ORDER BY s.id DESC LIMIT 100")


def subscription(session: Session, subscription_id: str) -> dict[str, Any]:
    """One subscription. Raises NotFound."""
    row = session.execute(_ONE, {"id": subscription_id}).mappings().first()
    if row is None:
        raise NotFound(f"there is no subscription {subscription_id!r}")
    return _as_dict(row)


def subscriptions(
    session: Session,
    *,
    limit: int,
    cursor: str | None = None,
    customer: str | None = None,
    status: str | None = None,
    plan_code: str | None = None,
) -> dict[str, Any]:
    """A page of subscriptions, newest first. `customer` is an id or an external id."""
    filters: Mapping[str, str | None] = {
        "s.id < :cursor": cursor,
        _OF_ONE: customer,
        "s.status = :status": status,
        "s.plan_code = :plan_code": plan_code,
    }
    where = " AND ".join(condition for condition, value in filters.items() if value is not None)
    statement = text(f"{_SELECT} {'WHERE ' + where if where else ''} ORDER BY s.id DESC LIMIT :limit")
    found = session.execute(
        statement,
        {
            "cursor": cursor,
            "customer": customer,
            "status": status,
            "plan_code": plan_code,
            "limit": limit + 1,
        },
    ).mappings()
    items = [_as_dict(row) for row in found]
    more = len(items) > limit
    return {"items": items[:limit], "next_cursor": items[limit - 1]["id"] if more else None}


def entitlements(session: Session, external_id: str) -> dict[str, Any]:
    """Whether the customer of this external id is entitled now, and until when as things stand.

    A customer who is not known here is not entitled.
    """
    found = session.execute(_OF_CUSTOMER, {"external_id": external_id}).mappings().all()
    until = [row["access_until"] for row in found if row["enabled"] and row["access_until"]]
    return {
        "entitled": any(row["enabled"] for row in found),
        "access_until": rfc3339(max(until, default=None)),
        "subscriptions": [_as_dict(row) for row in found],
    }


def _as_dict(row: RowMapping) -> dict[str, Any]:
    return {
        "id": row["id"],
        "customer_id": row["customer_id"],
        "external_id": row["external_id"],
        "plan_code": row["plan_code"],
        "plan": row["plan_snapshot"],
        "status": row["status"],
        "is_trial": row["is_trial"],
        "anchor_at": rfc3339(row["anchor_at"]),
        "period_no": row["period_no"],
        "period_start": rfc3339(row["period_start"]),
        "period_end": rfc3339(row["period_end"]),
        "grace_until": rfc3339(row["grace_until"]),
        "access_until": rfc3339(row["access_until"]),
        "cancel_at_period_end": row["cancel_at_period_end"],
        "auto_renew": row["auto_renew"],
        "paid_periods": row["paid_periods"],
        "paused_at": rfc3339(row["paused_at"]),
        "ended_at": rfc3339(row["ended_at"]),
        "holds": row["held"],
        "payable_until": rfc3339(row["payable_until"]),
        "payable_source": row["payable_source"],
        "entitled": row["enabled"],
        "provisioning": {
            "desired": "on" if row["enabled"] else "off",
            "desired_generation": row["desired_generation"],
            "applied_generation": row["applied_generation"],
            "state": row["provisioning_state"],
            "attempts": row["provisioning_attempts"],
            "applied_at": rfc3339(row["applied_at"]),
            "last_error": row["provisioning_error"],
        },
        "version": row["version"],
        "created_at": rfc3339(row["created_at"]),
        "updated_at": rfc3339(row["updated_at"]),
    }
