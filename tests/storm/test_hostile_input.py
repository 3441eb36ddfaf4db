"""Rubbish at every door: refused by name, nothing written, nobody dies, nothing grows."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import random
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis.schemas import APIOperation

from tenure.accounts.principal import Role
from tenure.embedded.postgres import Postgres
from tenure.embedded.valkey import Valkey
from tenure.kit import clock, signing
from tests.support import builders as build
from tests.support import services
from tests.support.nodes import Nodes, nodes
from tests.support.rawsocket import CLOSE, RawSocket, frame, ping
from tests.support.sizes import size, tell
from tests.support.steadiness import nothing_moves

SEED = size("seed", 4711)
GROWTH = 20_000_000
SECRET = "whsec_" + base64.b64encode(b"a provider's secret of 32 bytes!").decode()
PROVIDERS = json.dumps([{"name": "bank", "kind": "hmac", "secret": SECRET}])


@pytest.fixture(scope="module")
def deployed(
    postgres: Postgres,
    template_database: str,
    valkey_server: Valkey,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Nodes]:
    folder: Path = tmp_path_factory.mktemp("hostile")
    with (
        services.fresh_database(postgres, template=template_database) as url,
        nodes(
            folder,
            database_url=url,
            broker_url=valkey_server.url(13),
            live_url=valkey_server.url(14),
            TENURE_PAYMENT_PROVIDERS=PROVIDERS,
        ) as made,
    ):
        yield made


@pytest.fixture(scope="module")
def document(deployed: Nodes) -> dict[str, Any]:
    found: dict[str, Any] = deployed.web.call("GET", "/api/v1/openapi.json").json
    return found


class Caller:
    """One kept connection; whatever the server does with it, the next call goes through."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def send(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> int:
        for last in (False, True):
            try:
                self._connection.request(method, path, body=body, headers=headers)
                answer = self._connection.getresponse()
                answer.read()
            except (http.client.HTTPException, OSError):
                self._connection.close()
                if last:
                    raise
            else:
                return answer.status
        raise AssertionError("unreachable")

    def close(self) -> None:
        self._connection.close()


@pytest.fixture
def caller(deployed: Nodes) -> Iterator[Caller]:
    made = Caller(deployed.running[0].port)
    yield made
    made.close()


# -- HTTP bodies ------------------------------------------------------------------------------------------


def malformed(dice: random.Random, good: bytes) -> bytes:
    """A body that no operation may take; `good` is a JSON object with its fields."""
    kinds: list[Callable[[], bytes]] = [
        lambda: good[: dice.randrange(1, max(2, len(good)))],
        lambda: dice.randbytes(dice.randrange(1, 2000)),
        lambda: b"[" * dice.randrange(33, 50_000),
        lambda: b'{"a":' * dice.randrange(33, 3000) + b"1" + b"}" * 40,
        lambda: good[:-1] + b',"zz":NaN}',
        lambda: good[:-1] + b',"zz":1e999}',
        lambda: good[:-1] + b',"zz":' + b"9" * 5000 + b"}",
        lambda: b'{"zz":1,"zz":2}',
        lambda: dice.choice([b"[]", b"null", b'"text"', b"17", b"true", b"[{}]"]),
        lambda: b"\xef\xbb\xbf" + good,
        lambda: good.decode().encode("utf-16"),
        lambda: b'{"zz":"\\ud800"}',
        lambda: b'{"zz":"\\u0000"}',
        lambda: json.dumps({"zz": "x" * dice.randrange(1, 100_000)}).encode(),
        lambda: b'{"zz":"' + b"x" * 1_000_001 + b'"}',
        lambda: bytes(byte ^ (dice.random() < 0.2) * 0x80 for byte in good) + b"\xff",
    ]
    return dice.choice(kinds)()


def changes(document: dict[str, Any]) -> list[tuple[str, str, bytes]]:
    """Every operation that takes a JSON body, with an object that names its fields."""
    found = []
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            content = operation.get("requestBody", {}).get("content", {})
            schema = content.get("application/json", {}).get("schema")
            if schema is None or path.startswith("/hooks"):
                continue
            name = schema.get("$ref", "").rsplit("/", 1)[-1]
            fields = document["components"]["schemas"].get(name, schema).get("properties", {})
            good = json.dumps(dict.fromkeys(fields, "x") or {"zz": 1}).encode()
            found.append((method.upper(), path, good))
    return found


def test_malformed_bodies_are_refused_and_change_nothing(
    deployed: Nodes, document: dict[str, Any], caller: Caller
):
    dice, count = random.Random(SEED), size("bodies", 1000)
    targets = changes(document)
    assert len(targets) > 20
    ids = existing(deployed)
    keys = [deployed.web.key(role.value) for role in Role]
    answers: Counter[int] = Counter()

    def one() -> int:
        method, path, good = dice.choice(targets)
        for name in ("id", "code", "job", "name", "token", "provider"):
            path = path.replace("{" + name + "}", dice.choice(ids))
        headers = {"Authorization": f"Bearer {dice.choice(keys)}", "Idempotency-Key": f"k{dice.random()}"}
        headers["Content-Type"] = dice.choice(
            ["application/json"] * 9 + ["text/plain", "application/xml", ""]
        )
        return caller.send(method, path, malformed(dice, good), headers)

    for _ in range(100):
        one()  # what is loaded lazily is loaded
    with nothing_moves(deployed.running[0], deployed.web.db, growth=GROWTH):
        for number in range(count):
            status = one()
            answers[status] += 1
            assert 400 <= status < 500, (SEED, number, status)
    tell(f"{count} malformed bodies at {len(targets)} operations: {dict(answers)}")


def existing(deployed: Nodes) -> list[str]:
    """Ids that lead somewhere, and some that do not."""
    db = deployed.web.db
    if not build.rows(db, "SELECT 1 FROM plan LIMIT 1"):
        build.subscription(db)
    found = [
        str(row[0]) for row in build.rows(db, "SELECT id FROM subscription UNION SELECT id FROM customer")
    ]
    return [*found, "basic", "expiry", "bank", "cus_none", "%00", "..", "x" * 300, "9" * 40]


# -- frames -----------------------------------------------------------------------------------------------


def rubbish(dice: random.Random) -> bytes:
    """A frame that is wrong in one of many ways, or perhaps only odd."""
    kind = dice.randrange(7)
    if kind == 0:
        return dice.randbytes(dice.randrange(1, 200))
    if kind == 1:
        good = bytearray(frame(ping(1)))
        good[dice.randrange(len(good))] ^= 1 << dice.randrange(8)
        return bytes(good)
    if kind == 2:
        return frame(dice.randbytes(dice.randrange(0, 300)), opcode=dice.randrange(16), rsv=dice.randrange(8))
    if kind == 3:
        return frame(b"", size=dice.choice([65_537, 2**31, 2**32, 2**62, 2**63]))
    if kind == 4:
        return frame(dice.randbytes(50), fin=dice.random() < 0.5, opcode=dice.choice([0, 1, 2]))
    if kind == 5:
        code = struct.pack("!H", dice.randrange(65_536))
        return frame(dice.choice([b"", b"x", code, code + dice.randbytes(20)]), CLOSE)
    return frame(json.dumps(message(dice)))


def message(dice: random.Random) -> Any:
    """A message whose fields are of wrong types, or that is none."""
    odd: list[Any] = [
        None,
        True,
        -1,
        2**70,
        1.5,
        "",
        "x" * 500,
        [],
        {},
        [None],
        {"a": {"b": []}},
        "\x00",
        "é",
    ]
    if dice.random() < 0.2:
        return dice.choice(odd)
    known = ["auth", "auth-refresh", "subscribe", "unsubscribe", "run", "schedule", "ping", "pong"]
    names = ["rid", "token", "ticket", "channels", "since", "job", "scope", "key", "id", "action"]
    found = {name: dice.choice(odd) for name in dice.sample(names, dice.randrange(len(names)))}
    return {"type": dice.choice([*known, "dance", 1, None]), **found}


def test_malformed_frames_end_their_own_connection_only(deployed: Nodes):
    dice, count = random.Random(SEED), size("frames", 1000)
    port, key = deployed.running[0].port, deployed.web.key("viewer")
    codes: Counter[int | None] = Counter()

    def batch(most: int) -> int:
        it = RawSocket(port)
        try:
            assert it.ask()[0] == 101
            if dice.random() < 0.5:
                it.send(frame(json.dumps({"type": "auth", "token": key})))
            sent = dice.randrange(1, most + 1)
            for _ in range(sent):
                it.send(rubbish(dice))
            it.send(frame(struct.pack("!H", 1000), CLOSE))
            with contextlib.suppress(TimeoutError):
                it.sock.settimeout(5)
                last = it.until_closed()[-1:]
                codes[last[0].code if last and last[0].opcode == CLOSE else None] += 1
            return sent
        finally:
            it.close()

    for _ in range(10):
        batch(10)
    with nothing_moves(deployed.running[0], deployed.web.db, growth=GROWTH):
        sent = 0
        while sent < count:
            sent += batch(12)
        status = deployed.web.call("GET", "/me").status
        assert status == 200
    allowed = {1000, 1002, 1003, 1005, 1007, 1009, 4000, 4001, 4029, None}
    assert {code for code in codes if code in range(1000, 3000) or code in range(4000, 4100)} <= allowed
    assert codes[1011] == 0
    tell(f"{sent} malformed frames on {sum(codes.values())} connections: {dict(codes.most_common(12))}")


# -- webhooks ---------------------------------------------------------------------------------------------


def flipped(dice: random.Random, text: bytes) -> bytes:
    """The same with one bit changed; what comes out is another text."""
    changed = bytearray(text)
    changed[dice.randrange(len(changed))] ^= 1 << dice.randrange(8)
    return bytes(changed)


def forged(dice: random.Random, number: int) -> tuple[dict[str, str], bytes]:
    """A good webhook with one bit of its body, id, time or signature changed."""
    told = {"type": "payment.confirmed", "invoice_id": "inv_x", "provider_ref": f"r{number}"}
    body = json.dumps({**told, "amount_minor": 999, "currency": "USD"}).encode()
    headers = signing.signed_headers(
        [SECRET], message_id=f"m-{number}", timestamp=clock.unix_seconds(), body=body
    )
    part = dice.choice(["body", *headers])
    if part == "body":
        return headers, flipped(dice, body)
    while True:
        value = flipped(dice, headers[part].encode()).decode("latin-1")
        # What HTTP itself would not carry unchanged is no forgery of this kind.
        if value.isascii() and value.isprintable() and value == value.strip():
            return {**headers, part: value}, body


def test_forged_webhooks_are_refused_and_not_stored(deployed: Nodes, caller: Caller):
    dice, count = random.Random(SEED), size("webhooks", 200)
    for number in range(20):
        headers, body = forged(dice, number)
        caller.send("POST", "/hooks/payments/bank", body, headers)
    answers: Counter[int] = Counter()
    with nothing_moves(deployed.running[0], deployed.web.db, growth=GROWTH):
        for number in range(count):
            headers, body = forged(dice, number)
            status = caller.send("POST", "/hooks/payments/bank", body, headers)
            answers[status] += 1
            assert status == 401, (SEED, number, headers, body)
    body = b'{"type": "payment.confirmed"}'
    good = signing.signed_headers([SECRET], message_id="good", timestamp=clock.unix_seconds(), body=body)
    assert caller.send("POST", "/hooks/payments/bank", body, good) == 200, "a good one is taken"
    tell(f"{count} forged webhooks: {dict(answers)}")


# -- whatever the description of the API allows -----------------------------------------------------------


@pytest.mark.timeout(3600)
def test_what_the_description_allows_is_never_a_fault_of_ours(deployed: Nodes, document: dict[str, Any]):
    schema = schemathesis.openapi.from_dict(document)
    operations: list[Any] = [found.ok() for found in schema.get_all_operations()]  # type: ignore[union-attr]
    assert len(operations) > 50
    roles, examples = list(Role), size("examples", 2)
    everybody = size("all_roles", 0)
    answers: Counter[int] = Counter()
    for number, operation in enumerate(operations):
        for role in roles if everybody else [roles[number % len(roles)]]:
            throw(deployed, operation, deployed.web.key(role.value), examples, answers)
    assert deployed.running[0].lines("http.failed") == []
    assert deployed.running[0].process.poll() is None
    tell(f"{sum(answers.values())} generated requests to {len(operations)} operations: {dict(answers)}")


def throw(deployed: Nodes, operation: APIOperation, key: str, examples: int, answers: Counter[int]) -> None:
    """Some requests that the description of this operation allows; none may be answered 5xx."""

    @seed(SEED)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=False,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy())
    def once(case: schemathesis.Case) -> None:
        answer = case.call(base_url=deployed.url, headers={"Authorization": f"Bearer {key}"})
        answers[answer.status_code] += 1
        assert answer.status_code < 500, (operation.label, answer.status_code, answer.text[:300])

    once()
