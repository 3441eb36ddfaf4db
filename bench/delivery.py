"""From the commit that changed something to the client that shows it: relay, Valkey, web and socket together.

A writer process commits events at a steady rate; a relay and a web process are real. The limit beside it, in
the same run: one NOTIFY from the same commits to a bare listener of PostgreSQL, with nothing between.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import threading
import time

import psycopg

from bench.live_candidates import WEB, WEB_SETTINGS, join
from bench.live_client import Client
from bench.machine import Servers, servers
from bench.serving import ROOT, cpu_s, running, serving
from tenure.accounts.api_keys import create_api_key
from tenure.accounts.principal import Role
from tenure.events.append import NewEvent, append
from tenure.kit.db import Database

_RATE = 200
_CHANNEL = "bench_commit"


def main(*, quick: bool) -> None:
    """Print the delays at all clients, the limit, and the ratio."""
    clients, seconds = (20, 2) if quick else (200, 15)
    with servers() as where:
        db = Database(where.database_url, pool_size=1, application="bench")
        with db.transaction() as session:
            key = create_api_key(session, name="bench", role=Role.VIEWER, created_by="bench")["key"]
        env = {**where.environment(), **WEB_SETTINGS}
        relay = [sys.executable, "-m", "tenure", "relay"]
        with (
            serving(WEB, env, where.folder / "web.log") as (port, pid),
            running(relay, env, where.folder / "relay.log"),
        ):
            client = Client(("127.0.0.1", port), mark=b'"bench.event"')
            client.connect(clients, lambda sock: join(sock, key, ["iterations"]))
            _write(where, 1, 1.0)  # the relay is awake and leads
            client.settle(quiet_s=2.0, within_s=20.0)
            before = cpu_s(pid)
            heard: list[float] = []
            listening = threading.Thread(target=_listen, args=(where, seconds * _RATE, heard))
            listening.start()
            committed = _write_beside(where, seconds, client, clients)
            listening.join(10)
            share = (cpu_s(pid) - before) / seconds
            client.close()
        db.close()
    delays = sorted((came - committed[number]) * 1000 for number, came in client.seen)
    limit = sorted((came - committed[number]) * 1000 for number, came in enumerate(heard))
    _print(clients, seconds, delays, limit, share)


def _write_beside(where: Servers, seconds: int, client: Client, clients: int) -> list[float]:
    """Start the writer, read all clients until every event has come, and return the commits' moments."""
    writer = _writer(where, _RATE, seconds)
    wanted = _RATE * seconds * clients
    deadline = time.monotonic() + seconds + 30
    while len(client.seen) < wanted and time.monotonic() < deadline:
        client.turn(0.02)
    output, _ = writer.communicate(timeout=30)
    assert len(client.seen) == wanted, f"{len(client.seen)} of {wanted} deliveries arrived"
    return [float(line) for line in output.split()]


def _write(where: Servers, rate: int, seconds: float) -> None:
    _writer(where, rate, seconds).communicate(timeout=60)


def _writer(where: Servers, rate: int, seconds: float) -> subprocess.Popen[str]:
    words = [sys.executable, "-m", "bench.delivery", where.database_url, str(rate), str(int(rate * seconds))]
    return subprocess.Popen(words, cwd=ROOT, env=where.environment(), stdout=subprocess.PIPE, text=True)


def _listen(where: Servers, count: int, heard: list[float]) -> None:
    with psycopg.connect(where.database_url, autocommit=True) as connection:
        connection.execute(f"LISTEN {_CHANNEL}".encode())
        heard.extend(time.perf_counter() for _ in connection.notifies(timeout=60, stop_after=count))


def _print(clients: int, seconds: int, delays: list[float], limit: list[float], share: float) -> None:
    def row(name: str, values: list[float]) -> float:
        cuts = statistics.quantiles(values, n=100)
        print(f"  {name:<26} median {cuts[49]:7.1f} ms  p95 {cuts[94]:7.1f} ms  p99 {cuts[98]:7.1f} ms")
        return cuts[49]

    print(f"\ndelivery: {_RATE} events/s for {seconds} s to {clients} clients")
    print(f"  {len(delays):,} deliveries, none missed")
    ours = row("commit to client", delays)
    bare = row("commit to a bare listener", limit)
    print(f"  ratio {ours / max(bare, 0.001):.1f} at the median; the web process used {share:.0%} of a core")


def _write_events(url: str, rate: int, count: int) -> None:
    """Commit `count` events and print the moment at which each COMMIT was sent."""
    db = Database(url, pool_size=1, application="bench-writer")
    from sqlalchemy import text

    notify = text(f"NOTIFY {_CHANNEL}")
    moments, began = [], time.perf_counter()
    for number in range(count):
        left = began + number / rate - time.perf_counter()
        if left > 0:
            time.sleep(left)
        with db.transaction() as session:
            append(session, [NewEvent("bench.event", f"bench:{number}", ("iterations",))])
            session.execute(notify)
            moments.append(time.perf_counter())  # all that is left is the COMMIT itself
    print("\n".join(map(str, moments)))


if __name__ == "__main__":
    _write_events(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
