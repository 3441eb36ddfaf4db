"""The metrics of the install as Prometheus text, from Postgres and Valkey at this moment.

Counting from the record gives the same figures whichever process is asked, and survives every restart.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import redis
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from sqlalchemy import text
from sqlalchemy.orm import Session

from tenure.errors import TenureError
from tenure.exporter import hooks
from tenure.iterations import queues, tally
from tenure.iterations.catalog import catalog
from tenure.iterations.tally import Total
from tenure.kit.breaker import Breakers, State
from tenure.kit.db import Database
from tenure.kit.logging import get_logger
from tenure.settings import Settings

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
_log = get_logger(__name__)

_BREAKER_COUNTS: Final = {
    "opens": "Times the breaker opened",
    "refused": "Calls that were not made because it was open",
    "over_budget": "Repeats that were not made because too many of them failed",
    "unguarded": "Calls made without asking, because Valkey was away",
}
_COUNTER, _GAUGE = CounterMetricFamily, GaugeMetricFamily


@dataclass(frozen=True, slots=True)
class _Query:
    """One family: a statement that gives the labels in order and then the value."""

    family: type[CounterMetricFamily] | type[GaugeMetricFamily]
    name: str
    help: str
    labels: tuple[str, ...]
    sql: str
    table: str | None = None


_QUERIES: Final = (
    _Query(_GAUGE, "tenure_iterations_open", "Iterations without an END", ("job",),
           "SELECT job, count(*) FROM iteration WHERE ended_at IS NULL GROUP BY job"),
    _Query(_GAUGE, "tenure_slots_pending", "Due times that wait for a START", ("job",),
           "SELECT job, count(*) FROM slot WHERE state = 'pending' GROUP BY job"),
    _Query(_GAUGE, "tenure_slot_oldest_pending_seconds", "Age of the oldest due time without START", (),
           "SELECT coalesce(extract(epoch FROM clock_timestamp() - min(due_at)), 0) FROM slot "
           "WHERE state = 'pending' AND due_at <= clock_timestamp()"),
    _Query(_GAUGE, "tenure_nodes", "Processes whose lease holds", ("role",),
           "SELECT role, count(*) FROM node WHERE stopped_at IS NULL AND lease_until > clock_timestamp() "
           "GROUP BY role"),
    _Query(_GAUGE, "tenure_alerts_open", "Alerts that nobody has resolved", ("rule", "severity"),
           "SELECT rule, severity, count(*) FROM alert WHERE resolved_at IS NULL GROUP BY rule, severity"),
    _Query(_GAUGE, "tenure_invariant_violations", "Objects that break an invariant", ("invariant",),
           "SELECT subject, (data->>'violated')::bigint FROM alert "
           "WHERE rule = 'invariant_violated' AND resolved_at IS NULL"),
    _Query(_COUNTER, "tenure_events", "Events that have a place in the order", (),
           "SELECT coalesce(max(seq), 0) FROM event_seq"),
    _Query(_GAUGE, "tenure_events_pending", "Events that wait for their place", (),
           "SELECT count(*) FROM event_pending"),
    _Query(_GAUGE, "tenure_outbox", "Entries of the outbox", ("topic", "state"),
           "SELECT topic, state, count(*) FROM outbox WHERE state <> 'done' GROUP BY topic, state"),
    _Query(_GAUGE, "tenure_subscriptions", "Subscriptions", ("status",),
           "SELECT status, count(*) FROM subscription GROUP BY status", table="subscription"),
    _Query(_GAUGE, "tenure_invoices", "Invoices", ("status",),
           "SELECT status, count(*) FROM invoice GROUP BY status", table="invoice"),
    _Query(_GAUGE, "tenure_payments", "Payments", ("status",),
           "SELECT status, count(*) FROM payment GROUP BY status", table="payment"),
    _Query(_GAUGE, "tenure_notices", "Notices", ("kind", "state"),
           "SELECT kind, state, count(*) FROM notice GROUP BY kind, state", table="notice"),
    _Query(_GAUGE, "tenure_breaker_forced", "Breakers that an operator forced", ("breaker", "state"),
           "SELECT name, state, 1 FROM breaker_override WHERE until > clock_timestamp()",
           table="breaker_override"),
)  # fmt: skip


class Record(Collector):
    """Asks the record each time it is collected. What cannot be asked is missing, and `tenure_up` says so."""

    def __init__(self, settings: Settings, db: Database, broker: redis.Redis, live: redis.Redis) -> None:
        """The doors to ask through."""
        self._settings = settings
        self._db = db
        self._broker = broker
        self._live = live

    def collect(self) -> Iterator[Metric]:
        """All families."""
        up = GaugeMetricFamily("tenure_up", "Whether the part could be asked", labels=["part"])
        found: list[Metric] = []
        for part, read in (
            ("database", self._from_database),
            ("broker", self._queues),
            ("live", self._from_live),
        ):
            try:
                found += read()
                up.add_metric([part], 1)
            except (TenureError, redis.RedisError) as error:
                _log.warning("metrics.part_unavailable", part=part, error_type=type(error).__name__)
                up.add_metric([part], 0)
        yield up
        yield from found

    def _from_database(self) -> list[Metric]:
        with self._db.transaction() as session:
            there = [query for query in _QUERIES if query.table is None or _exists(session, query.table)]
            asked = [_family(query, session.execute(text(query.sql)).all()) for query in there]
            return [*asked, *_tallied(tally.totals(session))]

    def _queues(self) -> list[Metric]:
        family = GaugeMetricFamily("tenure_queue_depth", "Messages that wait in the broker", labels=["queue"])
        for queue, depth in queues.depths(self._broker, catalog(self._settings)).items():
            family.add_metric([queue], depth)
        return [family]

    def _from_live(self) -> list[Metric]:
        return [*self._sockets(), *self._breakers(), *hooks.families(self._live)]

    def _breakers(self) -> list[Metric]:
        state = GaugeMetricFamily("tenure_breaker_state", "1 for how it stands", labels=["breaker", "state"])
        counts = {
            name: CounterMetricFamily(f"tenure_breaker_{name}", help_, labels=["breaker"])
            for name, help_ in _BREAKER_COUNTS.items()
        }
        breakers = Breakers(self._live)
        for name, seen in breakers.seen(breakers.known()).items():
            for one in State:
                state.add_metric([name, one.value], float(one is seen.state))
            for count, family in counts.items():
                family.add_metric([name], getattr(seen, count))
        return [state, *counts.values()]

    def _sockets(self) -> list[Metric]:
        families: dict[str, GaugeMetricFamily] = {}
        for key in self._live.scan_iter(match="tenure:ws:node:*", count=100):
            node = str(key).rsplit(":", 1)[-1]
            stats: dict[str, str] = self._live.hgetall(key)  # type: ignore[assignment]
            for name, value in stats.items():
                if value.isdigit():
                    family = families.setdefault(
                        name, GaugeMetricFamily(f"tenure_ws_{name}", "Live layer", labels=["node"])
                    )
                    family.add_metric([node], int(value))
        return list(families.values())


def render(settings: Settings, db: Database, broker: redis.Redis, live: redis.Redis) -> bytes:
    """Everything, as Prometheus reads it."""
    return generate_latest(registry(settings, db, broker, live))


def registry(settings: Settings, db: Database, broker: redis.Redis, live: redis.Redis) -> CollectorRegistry:
    """A registry with these metrics alone."""
    made = CollectorRegistry(auto_describe=False)
    made.register(Record(settings, db, broker, live))
    return made


def _exists(session: Session, table: str) -> bool:
    return bool(session.execute(text("SELECT to_regclass(:table) IS NOT NULL"), {"table": table}).scalar())


def _tallied(totals: Iterable[Total]) -> Iterator[Metric]:
    """What would take a count of all history: from the tally."""
    started = CounterMetricFamily("tenure_iterations_started", "Iterations with a START", labels=["job"])
    ended = CounterMetricFamily(
        "tenure_iterations_ended", "Iterations with an END", labels=["job", "outcome"]
    )
    skipped = CounterMetricFamily("tenure_slots_skipped", "Due times not started", labels=["job", "reason"])
    seconds: defaultdict[str, float] = defaultdict(float)
    for total in totals:
        match total.kind:
            case "started":
                started.add_metric([total.job], total.n)
            case "ended":
                ended.add_metric([total.job, total.detail], total.n)
                seconds[total.job] += total.seconds
            case _:
                skipped.add_metric([total.job, total.detail], total.n)
    took = CounterMetricFamily("tenure_iteration_seconds", "Time from START to END", labels=["job"])
    for job, sum_ in seconds.items():
        took.add_metric([job], sum_)
    yield from (started, ended, took, skipped)


def _family(query: _Query, rows: Iterable[Sequence[Any]]) -> Metric:
    family = query.family(query.name, query.help, labels=list(query.labels))
    for row in rows:
        family.add_metric([str(value) for value in row[:-1]], float(row[-1] or 0))
    return family
