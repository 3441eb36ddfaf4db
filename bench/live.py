"""What a delivery over the live layer costs, beside FastAPI, Flask-SocketIO, stock flask-sock and raw sends.

Each server is one process on one core, the load client and the publisher are on another. Events go through
Valkey to every connection. `steady` publishes so slowly that every event leaves alone (no coalescing, for
nobody); `burst` publishes at once, where Tenure writes what waits for a socket in one go and the peers, as
their documentation shows them, do not. CPU is user and system time of the server process by the operating
system's count; the client's own share of its core is printed, so that one sees who was the bottleneck.
"""

from __future__ import annotations

import os
import resource
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version

import psutil

from bench.live_candidates import Candidate, candidates
from bench.live_client import Client
from bench.machine import Servers, servers
from bench.serving import cpu_s, serving

_SERVER_CORE, _CLIENT_CORE = 0, 1
_PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured; the short form only shows that everything runs."""

    connections: int = 1000
    seconds: float = 10.0
    burst: int = 300
    idle: int = 5000
    stalled_events: int = 400


_FULL, _QUICK = Size(), Size(connections=50, seconds=1.0, burst=30, idle=100, stalled_events=40)


@dataclass(frozen=True, slots=True)
class Figures:
    """What one candidate showed."""

    steady_us: float
    p50_ms: float
    p99_ms: float
    burst_us: float
    burst_rate: float
    idle_kb: float
    healthy: int
    client_share: float


def main(*, quick: bool) -> None:
    """Measure all, print a table and the ratios."""
    size = _QUICK if quick else _FULL
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    cores = os.sched_getaffinity(0)
    try:
        with servers() as where:
            if len(cores) > 1:
                os.sched_setaffinity(0, {sorted(cores)[_CLIENT_CORE]})
            shown = {each.name: _measure(where, each, size) for each in candidates(where)}
    finally:
        os.sched_setaffinity(0, cores)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    _print(shown, size)


def _measure(where: Servers, candidate: Candidate, size: Size) -> Figures:
    print(f"  {candidate.name} …", file=sys.stderr, flush=True)
    with _serving(where, candidate) as (port, pid):
        before = psutil.Process(pid).memory_info().rss
        with _clients(candidate, port, size.idle):
            idle_kb = (psutil.Process(pid).memory_info().rss - before) / size.idle / 1024
        with _clients(candidate, port, size.connections) as client:
            steady_us, delays, share = _steady(candidate, client, pid, size)
            burst_us, burst_rate = _burst(candidate, client, pid, size.burst)
        with _clients(candidate, port, 51) as client:
            healthy = _stalled(candidate, client, size.stalled_events)
    percentiles = statistics.quantiles(delays, n=100)
    return Figures(
        steady_us,
        percentiles[49] * 1000,
        percentiles[98] * 1000,
        burst_us,
        burst_rate,
        idle_kb,
        healthy,
        share,
    )


def _steady(candidate: Candidate, client: Client, pid: int, size: Size) -> tuple[float, list[float], float]:
    """CPU per delivery at 20 events/s, then the delays at 5 events/s, and the client's share of its core."""
    client.settle()
    used, own, began = cpu_s(pid), time.process_time(), time.perf_counter()
    sent = _publish_at(candidate, client, rate=20, seconds=size.seconds)
    _collect(client, sent * len(client.conns))
    steady_us = (cpu_s(pid) - used) / max(1, client.received) * 1e6
    share = (time.process_time() - own) / (time.perf_counter() - began)
    client.settle()
    sent = _publish_at(candidate, client, rate=5, seconds=size.seconds)
    _collect(client, sent * len(client.conns))
    return steady_us, list(client.delays), share


def _publish_at(candidate: Candidate, client: Client, *, rate: float, seconds: float) -> int:
    count, began = max(1, int(rate * seconds)), time.perf_counter()
    for number in range(count):
        while (left := began + number / rate - time.perf_counter()) > 0:
            client.turn(left)
        client.published.append(time.perf_counter())
        candidate.publish(1, 0)
    return count


def _burst(candidate: Candidate, client: Client, pid: int, count: int) -> tuple[float, float]:
    client.settle()
    used, began = cpu_s(pid), time.perf_counter()
    candidate.publish(count, 0)
    _collect(client, count * len(client.conns))
    took = time.perf_counter() - began
    return (cpu_s(pid) - used) / max(1, client.received) * 1e6, client.received / took


def _stalled(candidate: Candidate, client: Client, events: int) -> int:
    """How many of the others' deliveries arrive within half a minute while one connection does not read."""
    client.settle()
    client.stall()
    wanted = events * (len(client.conns) - 1)
    for _ in range(events):
        candidate.publish(1, 20_000)
        client.turn(0.005)
    _collect(client, wanted, within_s=30)
    return client.received


def _collect(client: Client, wanted: int, within_s: float = _PATIENCE_S) -> None:
    deadline = time.perf_counter() + within_s
    while client.received < wanted and time.perf_counter() < deadline:
        client.turn(0.02)


@contextmanager
def _clients(candidate: Candidate, port: int, number: int) -> Iterator[Client]:
    client = Client(("127.0.0.1", port), path=candidate.path, mark=candidate.mark)
    try:
        client.connect(number, candidate.hello)
        yield client
    finally:
        client.close()


@contextmanager
def _serving(where: Servers, candidate: Candidate) -> Iterator[tuple[int, int]]:
    log = where.folder / f"{candidate.name.replace('/', '-')}.log"
    environment = {**where.environment(), **candidate.env}
    with serving(candidate.command, environment, log, core=_SERVER_CORE) as (port, pid):
        yield port, pid


def _print(shown: dict[str, Figures], size: Size) -> None:
    names = (
        "gunicorn",
        "gevent",
        "flask-sock",
        "flask-socketio",
        "fastapi",
        "uvicorn",
        "uvloop",
        "websockets",
    )
    print(f"\nlive: {size.connections} connections, one process on one core")
    print("  " + ", ".join(f"{name} {version(name)}" for name in names))
    print(
        "                     one by one                     burst              idle   others of a  client's"
    )
    print(
        "                     us CPU    p50 ms    p99 ms     per s    us CPU  kB/conn  stalled one      core"
    )
    for name, f in shown.items():
        print(
            f"  {name:<16} {f.steady_us:9.1f} {f.p50_ms:9.1f} {f.p99_ms:9.1f} {f.burst_rate:9,.0f} "
            f"{f.burst_us:9.2f} {f.idle_kb:8.1f} {f.healthy:12,} {f.client_share:9.0%}"
        )
    ours, raw = shown["Tenure"], shown["raw sends"]
    print(f"  (all events for the others of a stalled one: {size.stalled_events * 50:,})")
    print(f"  ratio to the limit of raw sends, one frame each: {raw.steady_us / ours.steady_us:.2f}")
    for name, f in shown.items():
        if f not in (ours, raw):
            alone, together = f.steady_us / ours.steady_us, f.burst_us / max(ours.burst_us, 0.01)
            print(
                f"  ratio to {name}: {alone:.1f} x less CPU a delivery one by one, {together:.1f} x in a "
                f"burst (coalesced), {f.idle_kb / max(ours.idle_kb, 0.01):.1f} x less memory"
            )
