"""Queues: how much waits, since when, and how long due work waited for its START."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import redis
from sqlalchemy import text
from sqlalchemy.orm import Session

from tenure.iterations.catalog import Job

# kombu's `global_keyprefix`: one for workers, web, beat and Flower.
KEY_PREFIX: Final = "tenure:"

_WAITS: Final = text("""
    SELECT coalesce(extract(epoch FROM clock_timestamp() - (
               SELECT min(due_at) FROM slot
               WHERE state = 'pending' AND job = ANY(:jobs) AND due_at <= clock_timestamp()))::float8, 0)
               AS oldest_s,
           (SELECT percentile_cont(0.95) WITHIN GROUP (ORDER BY extract(epoch FROM started_at - due_at))
            FROM iteration
            WHERE job = ANY(:jobs) AND id > :since)::float8 AS wait_p95_s,
           (SELECT count(*) FROM slot WHERE state = 'pending' AND job = ANY(:jobs)) AS pending,
           (SELECT coalesce(array_agg(job ORDER BY job), '{}') FROM schedule
            WHERE job = ANY(:jobs) AND paused
              AND (paused_until IS NULL OR paused_until > clock_timestamp())) AS paused_jobs
""")
# Ids begin with their time: five minutes ago as an id bounds the scan to recent rows.
_RECENT: Final = text(
    "SELECT 'itr_' || lpad(to_hex(((extract(epoch FROM clock_timestamp()) - 300) * 1000)::bigint), 12, '0')"
)


def depths(broker: redis.Redis, catalog: Mapping[str, Job]) -> dict[str, int]:
    """Messages that wait in the broker, by queue. Raises redis errors."""
    names = sorted({job.queue for job in catalog.values()})
    lengths: list[Any] = [broker.llen(f"{KEY_PREFIX}{name}") for name in names]
    return dict(zip(names, lengths, strict=True))


def samples(session: Session, depth: Mapping[str, int], catalog: Mapping[str, Job]) -> list[dict[str, Any]]:
    """One sample a queue. `wait_p95_s` is from due time to START over five minutes, null without any."""
    since = session.execute(_RECENT).scalar_one()
    found = []
    for queue in sorted(depth):
        jobs = [job.name for job in catalog.values() if job.queue == queue]
        row = session.execute(_WAITS, {"jobs": jobs, "since": since}).one()
        found.append(
            {
                "queue": queue,
                "depth": depth[queue],
                "pending": row.pending,
                "oldest_s": round(row.oldest_s, 3),
                "wait_p95_s": None if row.wait_p95_s is None else round(row.wait_p95_s, 3),
                "paused": bool(row.paused_jobs),
                "paused_jobs": list(row.paused_jobs),
            }
        )
    return found
