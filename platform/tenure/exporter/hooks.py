"""When webhooks came in last: any at all, and proved ones. Two figures, because anybody can knock.

Neither is a sign of life of ours: a quiet night is no fault, and a scanner's noise is no health.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import redis
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric

RECEIVED: Final = "received"
AUTHENTICATED: Final = "authenticated"
_KEY: Final = "tenure:hooks:last"


def keep(live: redis.Redis, times: Mapping[tuple[str, str], int]) -> None:
    """Show these moments (unix seconds by what happened and hook) to everybody. Raises redis errors."""
    if times:
        fields: dict[Any, Any] = {f"{what}:{hook}": moment for (what, hook), moment in times.items()}
        live.hset(_KEY, mapping=fields)


def families(live: redis.Redis) -> Iterator[Metric]:
    """A gauge for each of the two. Raises redis errors."""
    gauges = {
        what: GaugeMetricFamily(
            f"tenure_webhook_last_{what}_timestamp_seconds",
            f"When a webhook was last {what}",
            labels=["hook"],
        )
        for what in (RECEIVED, AUTHENTICATED)
    }
    found: dict[str, str] = live.hgetall(_KEY)  # type: ignore[assignment]
    for field, moment in found.items():
        what, _, hook = field.partition(":")
        if what in gauges:
            gauges[what].add_metric([hook], float(moment))
    yield from gauges.values()
