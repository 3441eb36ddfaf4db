"""A canary in every secret, every kind of failure provoked: nothing shows one.

The services outside are as careless as they can be: they refuse each request and quote it whole.
"""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
import redis

from tenure.standins.httpserver import HttpStandIn, Reply, Request
from tests.support.rawserver import raw_server
from tests.support.services import ROOT
from tests.support.stack import Stack, running_stack
from tests.support.waiting import until

MARK = "CANARY"


def canary(name: str) -> str:
    return f"{MARK}-{name}-4f9d2c7be01a83"


class Echo(HttpStandIn):
    """Refuses every request and quotes it: path, headers and body."""

    def __init__(self, status: int) -> None:
        super().__init__()
        self.status = status
        self.seen: list[Request] = []

    def answer(self, request: Request) -> Reply:
        self.seen.append(request)
        quoted = f"{request.method} {request.path} {dict(request.headers)} {request.body!r}"
        return Reply(
            self.status, {"ok": False, "description": quoted, "error": {"code": -1, "message": quoted}}
        )


def greet(server: Any, connection: Any) -> None:
    """An SMTP server that offers AUTH, refuses it, and quotes what it was given."""
    connection.sendall(b"220 hello\r\n")
    while line := connection.makefile("rb").readline():
        if line.upper().startswith(b"EHLO"):
            connection.sendall(b"250-here\r\n250 AUTH PLAIN LOGIN\r\n")
        elif line.upper().startswith(b"QUIT"):
            connection.sendall(b"221 bye\r\n")
            return
        else:
            server.requests.append(line)
            connection.sendall(b"535 refused: " + line.strip() + b"\r\n")


@dataclass
class Leaky:
    """The stack, the careless world around it, and what must not be seen anywhere."""

    stack: Stack
    echoes: dict[str, Echo]
    smtp: Any
    secrets: dict[str, str] = field(default_factory=dict)

    def hits(self, where: str, text: str) -> list[str]:
        return [f"{name} in {where}" for name, secret in self.secrets.items() if secret in text]


@pytest.fixture(scope="module")
def leaky(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Leaky]:
    given = {name: canary(name) for name in ("key", "provisioner", "bot", "hook", "smtp", "rpc", "bank")}
    with (
        Echo(500) as provisioner, Echo(400) as telegram, Echo(400) as node, Echo(500) as endpoint,
        raw_server(greet) as smtp,
    ):  # fmt: skip
        chain = {
            "name": "dev", "kind": "evm", "chain_id": 1, "confirmations": 1,
            "assets": [{"symbol": "USDC", "contract": "0x" + "2" * 40, "decimals": 6}],
            "addresses": ["0x" + "1" * 40], "rpc_urls": [f"{node.url}/v3/{given['rpc']}"],
        }  # fmt: skip
        folder: Path = tmp_path_factory.mktemp("secrets")
        with running_stack(
            folder,
            TENURE_SECRET_KEY=given["key"],
            TENURE_PROVISIONER_URL=provisioner.url,
            TENURE_PROVISIONER_SECRET=given["provisioner"],
            TENURE_TELEGRAM_TOKEN=f"123456:{given['bot']}",
            TENURE_TELEGRAM_API_URL=telegram.url,
            TENURE_TELEGRAM_WEBHOOK_SECRET=given["hook"],
            TENURE_SMTP_URL=f"smtp://mailer:{given['smtp']}@127.0.0.1:{smtp.port}",
            TENURE_CHAINS=json.dumps([chain]),
            TENURE_PAYMENT_PROVIDERS=json.dumps([{"name": "bank", "kind": "hmac", "secret": given["bank"]}]),
            TENURE_LIMITS='{"run_per_min": 0, "api_per_min": 0}',
        ) as stack:
            echoes = {"provisioner": provisioner, "telegram": telegram, "node": node, "endpoint": endpoint}
            made = Leaky(stack, echoes, smtp, dict(given))
            made.secrets["first password"] = stack.admin_password
            kept = json.loads((folder / "secrets.json").read_text())
            made.secrets |= {name: value for name, value in kept.items() if isinstance(value, str)}
            yield made


def raw(leaky: Leaky, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, str]:
    """Any request as it is; headers' names with underscores for dashes."""
    request = urllib.request.Request(
        leaky.stack.url + path,
        method=method,
        data=body,
        headers={name.replace("_", "-"): value for name, value in headers.items()},
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read().decode("utf-8", "replace") + str(answer.headers)
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode("utf-8", "replace") + str(error.headers)


def provoke(leaky: Leaky) -> list[str]:
    """Every kind of failure there is; the answers that came."""
    stack, answers = leaky.stack, []
    made = stack.api(
        "POST", "/webhook-endpoints", {"url": leaky.echoes["endpoint"].url, "types": ["*"]}, expect=201
    )
    leaky.secrets["endpoint secret"] = made["secret"].removeprefix("whsec_")
    key = stack.json("apikey", "create", "canary", "--role", "viewer")
    leaky.secrets["api key"] = key["key"]
    stage = {"stage": "now", "offset_hours": -700, "channels": ["email", "telegram"]}
    stack.api(
        "POST",
        "/plans",
        {
            "code": "leaky", "name": "Leaky", "price": {"amount_minor": 999, "currency": "USD"},
            "interval": {"unit": "month", "count": 1}, "trial_days": 14, "grace_hours": 0,
            "reminders": [stage], "auto_renew": False,
        },
    )  # fmt: skip
    customer = stack.api(
        "POST", "/customers", {"external_id": "c1", "email": "c1@example.com", "telegram_chat_id": "4711"}
    )
    given = {"customer_id": customer["id"], "plan_code": "leaky", "trial": True}
    stack.api("POST", "/subscriptions", given)
    stack.api("POST", "/jobs/sleep/runs", {"scope": "raise"})
    tested = ("provisioner", "mail", "telegram", "chain:dev", "provider:bank", f"webhook:{made['id']}")
    answers += [
        json.dumps(stack.api("POST", f"/integrations/{name}/test", {}, expect=200)) for name in tested
    ]
    wrong = json.dumps({"email": stack.admin_email, "password": "not the right one"}).encode()
    answers += [
        raw(leaky, "POST", path, body, **headers)[1]
        for path, body, headers in (
            ("/hooks/telegram", b"{}", {"X_Telegram_Bot_Api_Secret_Token": leaky.secrets["hook"][:-1]}),
            ("/hooks/telegram", b"{", {"X_Telegram_Bot_Api_Secret_Token": leaky.secrets["hook"]}),
            ("/hooks/payments/bank", b"{}", {"webhook_id": "1", "webhook_signature": "v1,x"}),
            ("/api/v1/auth/login", wrong, {"Content_Type": "application/json"}),
            ("/api/v1/me", None, {"Authorization": "Bearer " + key["key"]}),
            ("/api/v1/plans", b"{", {"Authorization": "Bearer " + key["key"]}),
        )
    ]  # fmt: skip
    return answers


def everything_shown(leaky: Leaky) -> Iterator[tuple[str, str]]:
    """Whatever a person or a program may look at, by where it is."""
    stack = leaky.stack
    spec = stack.api("GET", "/openapi.json")
    for path, operations in spec["paths"].items():
        if "get" in operations and "{" not in path and path.startswith("/api/v1/"):
            short = path.removeprefix("/api/v1")
            query = "?customer=c1" if short == "/entitlements" else ""
            yield f"GET {path}", raw(leaky, "GET", path + query, Authorization="Bearer " + stack._bearer())[1]
    for item in stack.api("GET", "/subscriptions")["items"]:
        yield "timeline", json.dumps(stack.api("GET", f"/subscriptions/{item['id']}/timeline"))
    for path in ("/metrics", "/readyz", "/livez", "/nothing", "/"):
        yield path, raw(leaky, "GET", path)[1]
    bearer = {"Authorization": "Bearer " + stack._bearer()}
    for path in (
        "/flower/workers",
        "/flower/tasks",
        "/flower/api/tasks",
        "/flower/api/workers",
        "/flower/broker",
    ):
        yield path, raw(leaky, "GET", path, None, **bearer)[1]
    for words in (
        ("config", "show"), ("config", "show", "--json"), ("config", "check"), ("status", "--json"),
        ("doctor",),
        ("jobs", "--json"), ("iterations", "--json"), ("keys", "list", "--json"), ("verify", "--json"),
        ("run", "nothing"), ("--debug", "run", "nothing"),
    ):  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-m", "tenure", *words], cwd=ROOT, capture_output=True, text=True, check=False,
            timeout=120, env={**stack.installed.env, "TENURE_DATA_DIR": str(stack.installed.data_dir)},
        )  # fmt: skip
        yield " ".join(words), done.stdout + done.stderr
    for file in sorted((stack.installed.data_dir / "logs").glob("*.log*")):
        yield file.name, file.read_text(errors="replace")
    for identity in stack.installed.processes():
        try:
            process = psutil.Process(identity.pid)
            shown = f"the command line of {process.name()}", " ".join(process.cmdline())
        except psutil.NoSuchProcess:  # a server's process for one connection comes and goes
            continue
        yield shown


def settings_of(leaky: Leaky) -> dict[str, str]:
    """Where the stack's own servers are."""
    text = (leaky.stack.installed.data_dir / "stack.json").read_text()
    found: dict[str, str] = json.loads(text)["env"]
    return found


def test_the_failures_really_happened(leaky: Leaky):
    answers = provoke(leaky)
    assert len(answers) == 12
    found = [hit for text in answers for hit in leaky.hits("an answer", text)]
    assert found == []

    def traced() -> bool:
        return any(
            "Traceback" in line.get("exception", "") for line in leaky.stack.log_lines("iteration.failed")
        ) or ("Traceback" in (leaky.stack.installed.data_dir / "logs" / "worker.log").read_text())

    def all_failed() -> bool:
        events = {
            line["event"] for line in leaky.stack.log_lines("ITERATION_END") if line["outcome"] == "failed"
        }
        rows = leaky.stack.api("GET", "/integrations")["items"]
        wrong = {row["name"].split(":")[0] for row in rows if row["last_error"]}
        return bool(events) and {"provisioner", "mail", "telegram", "chain", "webhook"} <= wrong

    until(all_failed, 240, what="every connection has failed and a job has raised")
    # The test of a connection fails before the work that needs it is done.
    until(
        lambda: (
            f"/bot123456:{leaky.secrets['bot']}/sendMessage"
            in {one.path for one in leaky.echoes["telegram"].seen}
        ),
        240,
        what="a message was refused",
    )
    assert any(leaky.secrets["rpc"] in one.path for one in leaky.echoes["node"].seen)
    assert any(line.upper().startswith(b"AUTH") for line in leaky.smtp.requests)
    until(traced, what="the traceback is in the log, which is written after END")


def test_nothing_that_is_shown_holds_a_secret(leaky: Leaky):
    seen, found = 0, []
    for where, text in everything_shown(leaky):
        seen += 1
        found += leaky.hits(where, text)
    assert seen > 50
    assert found == []


def test_neither_the_broker_nor_the_record_holds_a_secret(leaky: Leaky):
    environment = settings_of(leaky)
    found: list[str] = []
    client: Any = redis.Redis.from_url(environment["TENURE_BROKER_URL"], decode_responses=False)
    for key in client.scan_iter():
        kind = client.type(key).decode()
        if kind == "none":  # a queue that was emptied meanwhile
            continue
        read = {
            "string": client.get, "list": lambda k: client.lrange(k, 0, -1), "hash": client.hgetall,
            "set": client.smembers, "zset": lambda k: client.zrange(k, 0, -1), "stream": client.xrange,
        }[kind]  # fmt: skip
        found += leaky.hits(f"the broker's {key!r}", repr(read(key)))
    client.close()
    with psycopg.connect(environment["TENURE_DATABASE_URL"]) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        assert len(tables) > 20
        for (table,) in tables:
            for row in connection.execute(f'SELECT t::text FROM "{table}" t'):
                found += leaky.hits(f"the table {table}", row[0])
                found += leaky.hits(f"bytes of the table {table}", _as_bytes(row[0]))
    assert found == []


def _as_bytes(text: str) -> str:
    r"""What stands in the \x… parts of a row, as text."""
    parts = [part.split('"')[0].split(",")[0].split(")")[0] for part in text.split("\\x")[1:]]
    return " ".join(bytes.fromhex(part).decode("latin-1") for part in parts if part and len(part) % 2 == 0)
