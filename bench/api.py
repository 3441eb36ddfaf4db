"""How long an API request takes at 50 a second while people sign in, beside the same server's empty answer.

Requests are sent on a schedule, whether or not earlier ones were answered, and a delay counts from the moment
a request was due (no coordinated omission). The floor beside it, in the same seconds and at the same rate, is
`/livez`: the same server, the same connections, no account, no database.
"""

from __future__ import annotations

import http.client
import itertools
import json
import queue
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from bench.live_candidates import WEB, WEB_SETTINGS
from bench.machine import Servers, servers
from bench.serving import cpu_s, serving
from tenure.accounts import passwords
from tenure.accounts.api_keys import create_api_key
from tenure.accounts.principal import Role
from tenure.accounts.users import create_user
from tenure.kit.db import Database

_EMAIL, _PASSWORD = "bench@example.com", "correct horse battery"
_RATE, _LOGINS = 50, 2
_CONNECTIONS = 20
_OK = range(200, 300)

Request = tuple[str, str, dict[str, Any] | None]


@dataclass(slots=True)
class Load:
    """One kind of request: how often, what, and what came of it."""

    name: str
    rate: float
    requests: Iterator[Request]
    delays: list[float] = field(default_factory=list)
    failures: list[int] = field(default_factory=list)


def main(*, quick: bool) -> None:
    """Print the delays of the API, of the sign-ins and of the floor."""
    seconds = 3 if quick else 20
    with servers() as where:
        key = _accounts(where)
        env = {**where.environment(), **WEB_SETTINGS}
        with serving(WEB, env, where.folder / "web.log") as (port, pid):
            _subscriptions(port, key)
            loads = [
                Load("API, mixed", _RATE, _mixed()),
                Load("sign-ins", _LOGINS, itertools.repeat(_sign_in())),
                Load("/livez (floor)", _RATE, itertools.repeat(("GET", "/livez", None))),
            ]
            before = cpu_s(pid)
            threads = [threading.Thread(target=_run, args=(load, port, key, seconds)) for load in loads]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            share = (cpu_s(pid) - before) / seconds
    _print(loads, seconds, share)


def _accounts(where: Servers) -> str:
    db = Database(where.database_url, pool_size=1, application="bench")
    with db.transaction() as session:
        create_user(session, email=_EMAIL, password_hash=passwords.hashed(_PASSWORD), role=Role.OPERATOR)
        key: str = create_api_key(session, name="bench", role=Role.ADMIN, created_by="bench")["key"]
    db.close()
    return key


def _subscriptions(port: int, key: str) -> None:
    """Something to read: a plan, and customers with subscriptions."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    plan = {"code": "bench", "name": "Bench", "price": {"amount_minor": 999, "currency": "USD"},
            "interval": {"unit": "month", "count": 1}, "trial_days": 7, "grace_hours": 24, "reminders": [],
            "auto_renew": False}  # fmt: skip
    assert _ask(connection, key, ("POST", "/api/v1/plans", plan))[0] in _OK
    for number in range(100):
        customer = {"external_id": f"bench-{number}", "email": f"bench{number}@example.com"}
        _, made = _ask(connection, key, ("POST", "/api/v1/customers", customer))
        begun = {"customer_id": made["id"], "plan_code": "bench", "trial": True}
        assert _ask(connection, key, ("POST", "/api/v1/subscriptions", begun))[0] in _OK
    connection.close()


def _mixed() -> Iterator[Request]:
    """What a console and an integration ask: mostly reads, one write in eight."""
    for number in itertools.count():
        yield from (
            ("GET", "/api/v1/subscriptions?limit=50", None),
            ("GET", f"/api/v1/entitlements?customer=bench-{number % 100}", None),
            ("GET", "/api/v1/iterations?limit=50", None),
            ("GET", f"/api/v1/customers?external_id=bench-{number % 100}", None),
            ("GET", "/api/v1/stats", None),
            ("GET", f"/api/v1/entitlements?customer=bench-{number * 7 % 100}", None),
            ("GET", "/api/v1/invoices?limit=20", None),
            ("POST", "/api/v1/customers", {"external_id": f"written-{number}"}),
        )


def _sign_in() -> Request:
    return "POST", "/api/v1/auth/login", {"email": _EMAIL, "password": _PASSWORD, "transport": "body"}


def _run(load: Load, port: int, key: str, seconds: float) -> None:
    """Put the requests on a queue when they are due; a few connections serve it."""
    waiting: queue.Queue[tuple[float, Request] | None] = queue.Queue()
    many = min(_CONNECTIONS, max(4, int(load.rate)))
    workers = [threading.Thread(target=_serve, args=(load, port, key, waiting.get)) for _ in range(many)]
    for worker in workers:
        worker.start()
    began = time.perf_counter()
    for number in range(int(load.rate * seconds)):
        due = began + number / load.rate
        time.sleep(max(0.0, due - time.perf_counter()))
        waiting.put((due, next(load.requests)))
    for _ in workers:
        waiting.put(None)
    for worker in workers:
        worker.join()


def _serve(load: Load, port: int, key: str, take: Callable[[], tuple[float, Request] | None]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    while (work := take()) is not None:
        due, request = work
        status, _ = _ask(connection, key, request)
        load.delays.append((time.perf_counter() - due) * 1000)
        if status not in _OK:
            load.failures.append(status)
    connection.close()


def _ask(connection: http.client.HTTPConnection, key: str, request: Request) -> tuple[int, Any]:
    method, path, body = request
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    if path.endswith("/login"):
        del headers["Authorization"]
    connection.request(method, path, body=None if body is None else json.dumps(body), headers=headers)
    answer = connection.getresponse()
    raw = answer.read()
    is_json = "json" in (answer.headers.get("Content-Type") or "")
    return answer.status, json.loads(raw) if raw and is_json else None


def _print(loads: list[Load], seconds: int, share: float) -> None:
    print(f"\napi: one web process for {seconds} s; it used {share:.0%} of a core")
    p95 = {}
    for load in loads:
        cuts = statistics.quantiles(load.delays, n=100)
        p95[load.name] = cuts[94]
        print(
            f"  {load.name:<15} {load.rate:3.0f}/s  median {cuts[49]:7.1f} ms  p95 {cuts[94]:7.1f} ms  "
            f"p99 {cuts[98]:7.1f} ms  failed {len(load.failures)}"
        )
    print(f"  ratio of the p95 to the floor's: {p95['API, mixed'] / p95['/livez (floor)']:.1f}")
