"""What somebody tries who wants the gate to fall over: broken requests, slow ones, and refused headers."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from email.message import Message
from email.parser import BytesParser

import pytest
from argon2 import PasswordHasher
from sqlalchemy import text

from tenure.kit import clock, signing
from tests.integration.test_web_input import assert_secure
from tests.support import services
from tests.support.sockets import client
from tests.support.waiting import until
from tests.support.web import EMAIL, OFF, PASSWORD, Answer, Web, running
from web.origin import counted_as

LOGIN = b"POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


def spoken(web: Web, sent: bytes, *, drip: bytes = b"", within_s: float = 60) -> Answer:
    """The first answer to these very bytes; `drip` is sent again every half second until it comes."""
    received = b""
    with socket.create_connection(("127.0.0.1", web.port), timeout=within_s) as sock:
        sock.sendall(sent)
        sock.settimeout(0.5 if drip else within_s)
        deadline = time.monotonic() + within_s
        while b"\r\n\r\n" not in received or len(received.partition(b"\r\n\r\n")[2]) < _length(received):
            assert time.monotonic() < deadline, f"no answer in {within_s} s: {received!r}"
            try:
                piece = sock.recv(65_536)
            except TimeoutError:
                sock.sendall(drip)
                continue
            assert piece, f"closed without an answer: {received!r}"
            received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    line, _, headers = head.partition(b"\r\n")
    return Answer(int(line.split()[1]), _headers(headers), body)


def _headers(text: bytes) -> Message:
    return BytesParser().parsebytes(text + b"\r\n\r\n", headersonly=True)


def _length(received: bytes) -> int:
    found = re.search(rb"(?i)content-length: (\d+)", received)
    return int(found[1]) if found else 0


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        (b"GET /livez HTTP/1.1\r\nHost: x\r\nX-A: " + b"a" * 9000 + b"\r\n\r\n", 431, "headers_too_large"),
        (b"GET /livez HTTP/1.1\r\nHost: x\r\n" + b"X-A: a\r\n" * 200 + b"\r\n", 431, "headers_too_large"),
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414, "uri_too_long"),
        (b"G(T / HTTP/1.1\r\nHost: x\r\n\r\n", 400, "malformed_request"),
        (b"\x00\x01\x02\r\n\r\n", 400, "malformed_request"),
        (b"GET /livez HTTP/3.9\r\nHost: x\r\n\r\n", 400, "malformed_request"),
        (b"GET /livez HTTP/1.1\r\nHost : x\r\n\r\n", 400, "malformed_request"),
        (LOGIN + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 400, "malformed_request"),
        (
            LOGIN + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
            "malformed_request",
        ),
        (LOGIN + b"Transfer-Encoding: gzip\r\n\r\n", 400, "malformed_request"),
        (LOGIN + b"Expect: nothing\r\nContent-Length: 2\r\n\r\n{}", 417, "expectation_failed"),
    ],
)
def test_what_the_server_cannot_parse_is_answered_with_a_problem(web: Web, sent, status, code):
    answer = spoken(web, sent)
    assert (answer.status, answer.headers["Content-Type"]) == (status, "application/problem+json")
    assert (answer.json["status"], answer.json["code"]) == (status, code)
    assert answer.json["request_id"] == answer.headers["X-Request-Id"]
    assert_secure(answer, sent[:40])

    def told() -> list[dict[str, object]]:
        return [line for line in web.log() if line.get("request_id") == answer.json["request_id"]]

    line = until(told)[0]
    assert (line["event"], line["address"]) == ("http.unreadable", "127.0.0.1")
    assert web.call("GET", "/livez", role=None).status == 200


@pytest.mark.parametrize("path", ["/api/v1/auth/login", "/hooks/payments/bank"])
@pytest.mark.parametrize("chunks", [b"zz\r\n", b"5\r\nhello!!\r\n0\r\n\r\n", b"-5\r\nhello\r\n0\r\n\r\n"])
def test_chunks_that_are_none_are_refused(web: Web, path, chunks):
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    answer = spoken(web, head.encode() + b"Transfer-Encoding: chunked\r\n\r\n" + chunks)
    assert (answer.status, answer.json["code"]) == (400, "malformed_body")


def chunked(size: int) -> bytes:
    """A valid sign-in, then blanks up to this size, in chunks of 64 KiB."""
    given = json.dumps({"email": "nobody@example.com", "password": "wrong"}).encode().ljust(size)
    pieces = [given[start : start + 65_536] for start in range(0, size, 65_536)]
    return b"".join(f"{len(piece):x}\r\n".encode() + piece + b"\r\n" for piece in pieces) + b"0\r\n\r\n"


def test_a_body_that_tells_no_length_is_measured_as_it_comes(web: Web):
    head = LOGIN + b"Transfer-Encoding: chunked\r\n\r\n"
    # What lies beyond the limit is blank: cut there, the rest would be taken for the whole.
    assert spoken(web, head + chunked(1_000_001)).status == 413
    assert spoken(web, head + chunked(1_000_000)).json["code"] == "bad_credentials"


def test_a_body_that_never_ends_is_cut_after_20_s(web: Web):
    """Both ways at once, because each takes its time: nothing comes, and a byte comes now and then."""
    answers: dict[bytes, Answer] = {}

    def send(drip: bytes) -> None:
        answers[drip] = spoken(web, LOGIN + b"Content-Length: 5000\r\n\r\n{", drip=drip)

    threads = [threading.Thread(target=send, args=(drip,)) for drip in (b"", b" ")]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(90)
    assert {drip: (one.status, one.json["code"]) for drip, one in answers.items()} == {
        b"": (408, "request_timeout"),
        b" ": (408, "request_timeout"),
    }
    assert time.monotonic() - began > 15, "it was waited for"
    assert web.call("GET", "/livez", role=None).status == 200


# -- made-up credentials, and webhooks -----------------------------------------------------------------------

HOOK_SECRET = "the secret of the hook"
BANK = [{"name": "bank", "kind": "hmac", "secret": "the secret of the bank"}]


@pytest.fixture
def limited(postgres, template_database, valkey_server, tmp_path) -> Iterator[Web]:
    """A web process that lets thirty requests a minute in, and has a bot and a bank."""
    with closing(valkey_server.connect(12)) as client:
        client.flushdb()
    with (
        services.fresh_database(postgres, template=template_database) as url,
        running(
            tmp_path,
            database_url=url,
            broker_url=valkey_server.url(11),
            live_url=valkey_server.url(12),
            TENURE_LIMITS=json.dumps({**OFF, "api_per_min": 30}),
            TENURE_TELEGRAM_WEBHOOK_SECRET=HOOK_SECRET,
            TENURE_PAYMENT_PROVIDERS=json.dumps(BANK),
        ) as made,
    ):
        yield made


def told_by_the_bank(web: Web, number: int, secret: str) -> Answer:
    body = json.dumps({"type": "nothing", "number": number}).encode()
    headers = signing.signed_headers(
        [secret], message_id=f"msg-{number}", timestamp=clock.unix_seconds(), body=body
    )
    return web.call("POST", "/hooks/payments/bank", role=None, body=body, headers=headers)


def told_by_the_bot(web: Web, number: int, secret: str) -> Answer:
    headers = {"X-Telegram-Bot-Api-Secret-Token": secret}
    return web.call("POST", "/hooks/telegram", role=None, json={"update_id": number}, headers=headers)


def test_a_credential_made_up_for_each_request_gains_no_limit_of_its_own(limited: Web):
    answers = [
        limited.call("GET", "/me", role=None, headers={"Authorization": f"Bearer tnk_{number:043d}"})
        for number in range(60)
    ]
    assert {answer.status for answer in answers} == {401, 429}
    assert sum(answer.status == 401 for answer in answers) <= 40, "thirty, and what the window gives back"
    refused = next(answer for answer in answers if answer.status == 429)
    assert refused.json["code"] == "throttled"
    assert int(refused.headers["Retry-After"]) >= 1
    assert limited.call("GET", "/me").status == 200, "who is known is let in from the same address"


@pytest.mark.parametrize(
    ("tell", "secret"), [(told_by_the_bank, BANK[0]["secret"]), (told_by_the_bot, HOOK_SECRET)]
)
def test_genuine_webhooks_are_not_held_up_and_forged_ones_are(limited: Web, tell, secret):
    forged = [tell(limited, number, "another secret").status for number in range(60)]
    assert set(forged) == {401, 429}
    assert forged.count(401) <= 40
    genuine = [tell(limited, number, secret) for number in range(100, 160)]
    assert [answer.json for answer in genuine] == [{"stored": True}] * 60


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("unknown", "unknown"),
    ],
)
def test_limits_count_the_network_that_one_customer_has(address, counted):
    assert counted_as(address) == counted


def test_a_refresh_token_used_twice_closes_the_sockets_of_its_session(web: Web):
    given = {"email": EMAIL, "password": PASSWORD, "transport": "body"}
    first = web.call("POST", "/auth/login", role=None, json=given).json
    other = web.call("POST", "/auth/login", role=None, json=given).json
    again = {"refresh_token": first["refresh_token"]}
    assert web.call("POST", "/auth/refresh", role=None, json=again).status == 200
    session_id = first["refresh_token"].removeprefix("tnr_").split(".")[0]
    with web.db.transaction() as session:
        moved = text("UPDATE session SET rotated_at = rotated_at - interval '11 seconds' WHERE id = :id")
        session.execute(moved, {"id": session_id})
    with client(web) as robbed, client(web) as bystander:
        for it, tokens in ((robbed, first), (bystander, other)):
            it.send(type="auth", token=tokens["access_token"])
            it.until(event="authenticated")
        stolen = web.call("POST", "/auth/refresh", role=None, json=again)
        assert (stolen.status, stolen.json["code"]) == (401, "token_reused")
        assert robbed.close_code() == 4001
        bystander.send(type="ping", id="there")
        bystander.until(event="pong")


def test_a_hash_of_older_costs_is_made_anew_at_the_next_sign_in(web: Web):
    made = web.call("POST", "/users", json={"email": "old@example.com", "role": "viewer"}).json
    older = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(made["password"])

    def stored() -> str:
        with web.db.transaction() as session:
            found = text("SELECT password_hash FROM app_user WHERE id = :id")
            return str(session.execute(found, {"id": made["id"]}).scalar_one())

    with web.db.transaction() as session:
        session.execute(
            text("UPDATE app_user SET password_hash = :hash WHERE id = :id"),
            {"hash": older, "id": made["id"]},
        )
    given = {"email": "old@example.com", "password": "a wrong one"}
    assert web.call("POST", "/auth/login", role=None, json=given).status == 401
    assert stored() == older
    given["password"] = made["password"]
    assert web.call("POST", "/auth/login", role=None, json=given).status == 200
    anew = stored()
    assert anew.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert web.call("POST", "/auth/login", role=None, json=given).status == 200
    assert stored() == anew


def test_a_name_that_was_made_to_lead_here_reads_no_figures(web: Web):
    for host in (f"evil.example:{web.port}", "127.0.0.1.evil.example", "[::1", ""):
        assert web.call("GET", "/metrics", role=None, headers={"Host": host}).status in {400, 401}, host
    for host in (f"localhost:{web.port}", f"127.0.0.1:{web.port}", f"[::1]:{web.port}"):
        assert web.call("GET", "/metrics", role=None, headers={"Host": host}).status == 200, host


OURS = "https://app.example.com"


@pytest.fixture
def shared(postgres, template_database, valkey_server, tmp_path) -> Iterator[Web]:
    """A web process that lets pages of two other origins in."""
    with (
        services.fresh_database(postgres, template=template_database) as url,
        running(
            tmp_path,
            database_url=url,
            broker_url=valkey_server.url(11),
            live_url=valkey_server.url(12),
            TENURE_ALLOWED_ORIGINS=f"{OURS},http://localhost:3000",
        ) as made,
    ):
        yield made


def test_cross_origin_reads_are_for_the_exact_origins_alone(shared: Web):
    for origin in (OURS, "http://localhost:3000"):
        answer = shared.call("GET", "/me", headers={"Origin": origin})
        assert answer.headers["Access-Control-Allow-Origin"] == origin
        assert answer.headers["Vary"] == "Origin"
        assert "ETag" in answer.headers["Access-Control-Expose-Headers"]
        asked = {"Origin": origin, "Access-Control-Request-Method": "PATCH"}
        preflight = shared.call("OPTIONS", "/plans/x", role=None, headers=asked)
        assert preflight.status == 204
        assert "If-Match" in preflight.headers["Access-Control-Allow-Headers"]
    for origin in (
        "null", "https://app.example.com.evil.example", "https://evil.example", "http://app.example.com",
        "https://app.example.com:444", "https://APP.example.com", "https://xapp.example.com", "*", shared.url,
    ):  # fmt: skip
        answer = shared.call("GET", "/me", headers={"Origin": origin})
        assert answer.headers["Access-Control-Allow-Origin"] is None, origin
        assert answer.headers["Access-Control-Allow-Credentials"] is None, origin
        assert answer.headers["Vary"] == "Origin", "no cache may mix them up"
