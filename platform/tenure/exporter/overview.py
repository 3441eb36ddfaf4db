"""The figures of the whole install: counts by state, who works, what is connected, what the days bring."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from tenure.kit.times import rfc3339

_STATS: Final = text("""
    SELECT
      (SELECT coalesce(jsonb_object_agg(status, n), '{}') FROM
          (SELECT status, count(*) AS n FROM subscription GROUP BY status) AS s) AS subscriptions,
      (SELECT coalesce(jsonb_object_agg(status, n), '{}') FROM
          (SELECT status, count(*) AS n FROM invoice GROUP BY status) AS i) AS invoices,
      (SELECT coalesce(jsonb_object_agg(status, n), '{}') FROM
          (SELECT status, count(*) AS n FROM payment GROUP BY status) AS p) AS payments,
      (SELECT coalesce(jsonb_object_agg(state, n), '{}') FROM
          (SELECT state, count(*) AS n FROM notice GROUP BY state) AS n) AS notices,
      (SELECT coalesce(jsonb_object_agg(state, n), '{}') FROM
          (SELECT state, count(*) AS n FROM provisioning GROUP BY state) AS d) AS provisioning,
      (SELECT count(*) FROM customer) AS customers,
      (SELECT count(*) FROM alert WHERE resolved_at IS NULL) AS alerts_open,
      (SELECT count(*) FROM iteration WHERE ended_at IS NULL) AS iterations_open,
      (SELECT coalesce(jsonb_object_agg(outcome, n), '{}') FROM
          (SELECT outcome, count(*) AS n FROM iteration
           WHERE id > 'itr_' || lpad(to_hex(((extract(epoch FROM clock_timestamp()) - 3600) * 1000)::bigint),
                                     12, '0') AND outcome IS NOT NULL GROUP BY outcome) AS o)
          AS iterations_last_hour,
      (SELECT coalesce(max(seq), 0) FROM event_seq) AS events,
      clock_timestamp() AS machine_now, tenure_now() AS now,
      extract(epoch FROM (SELECT ahead FROM domain_clock))::float8 AS offset_s
""")

_NODES: Final = text("""
    SELECT *, lease_until > clock_timestamp() AS alive,
           (SELECT count(*) FROM iteration i WHERE i.node_id = node.id AND i.ended_at IS NULL) AS running
    FROM node WHERE stopped_at IS NULL AND lease_until > clock_timestamp() - interval '10 minutes'
    ORDER BY role, id DESC
""")


def stats(session: Session) -> dict[str, Any]:
    """Counts by state, and both clocks."""
    row = session.execute(_STATS).mappings().one()
    return {
        **{name: row[name] for name in row if name not in {"machine_now", "now"}},
        "machine_now": rfc3339(row["machine_now"]),
        "now": rfc3339(row["now"]),
    }


def workers(session: Session) -> list[dict[str, Any]]:
    """The processes that hold a lease, or lost it within ten minutes."""
    return [
        {
            "id": row["id"],
            "role": row["role"],
            "name": row["name"],
            "host": row["host"],
            "pid": row["pid"],
            "version": row["version"],
            "state": "alive" if row["alive"] else "lost",
            "running": row["running"],
            "started_at": rfc3339(row["started_at"]),
            "lease_until": rfc3339(row["lease_until"]),
            "info": row["info"],
        }
        for row in session.execute(_NODES).mappings()
    ]


# One row a day of domain time: what becomes due there if nothing happens before.
_FORECAST: Final = text("""
    WITH days AS (
        SELECT n, date_trunc('day', tenure_now()) + n * interval '1 day' AS day
        FROM generate_series(0, :days - 1) AS n
    ), ends AS (
        SELECT date_trunc('day', greatest(period_end, tenure_now())) AS day,
               count(*) AS periods_ending,
               count(*) FILTER (WHERE is_trial) AS trials_ending,
               count(*) FILTER (WHERE auto_renew AND NOT cancel_at_period_end) AS auto_renewing
        FROM subscription
        WHERE status IN ('trialing', 'active')
          AND period_end < date_trunc('day', tenure_now()) + :days * interval '1 day'
        GROUP BY 1
    ), expiries AS (
        SELECT date_trunc('day', greatest(access_until, tenure_now())) AS day, count(*) AS expiring
        FROM subscription
        WHERE status IN ('trialing', 'active', 'past_due')
          AND access_until < date_trunc('day', tenure_now()) + :days * interval '1 day'
        GROUP BY 1
    ), reminders AS (
        SELECT date_trunc('day', greatest(remind_at, tenure_now())) AS day, count(*) AS reminders
        FROM subscription
        WHERE remind_at < date_trunc('day', tenure_now()) + :days * interval '1 day'
        GROUP BY 1
    )
    SELECT days.day::date::text AS day, coalesce(periods_ending, 0) AS periods_ending,
           coalesce(trials_ending, 0) AS trials_ending, coalesce(auto_renewing, 0) AS auto_renewing,
           coalesce(expiring, 0) AS expiring, coalesce(reminders, 0) AS reminders
    FROM days LEFT JOIN ends USING (day) LEFT JOIN expiries USING (day) LEFT JOIN reminders USING (day)
    ORDER BY n
""")


def forecast(session: Session, *, days: int) -> list[dict[str, Any]]:
    """What each of the next days (UTC, domain time) brings if nobody pays, cancels or changes anything."""
    return [dict(row) for row in session.execute(_FORECAST, {"days": days}).mappings()]
