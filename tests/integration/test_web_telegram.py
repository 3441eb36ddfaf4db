"""`/hooks/telegram`: proved, stored once, answered; and what the stored updates come to."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import text

from tenure.embedded.postgres import Postgres
from tenure.embedded.valkey import Valkey
from tenure.notices import send_planned
from tests.support import builders as build
from tests.support import services
from tests.support import web as web_support
from tests.support.waiting import until
from tests.support.web import Answer, Web

SECRET = "the-secret-that-telegram-was-told"
HEADER = "X-Telegram-Bot-Api-Secret-Token"
BANK = "a secret of the bank that is long"


@pytest.fixture(scope="module")
def bot(
    postgres: Postgres,
    template_database: str,
    valkey_server: Valkey,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Web]:
    folder: Path = tmp_path_factory.mktemp("bot")
    with (
        services.fresh_database(postgres, template=template_database) as database_url,
        web_support.running(
            folder,
            database_url=database_url,
            broker_url=valkey_server.url(9),
            live_url=valkey_server.url(10),
            TENURE_TELEGRAM_WEBHOOK_SECRET=SECRET,
            TENURE_PAYMENT_PROVIDERS=json.dumps([{"name": "bank", "kind": "hmac", "secret": BANK}]),
        ) as running,
    ):
        yield running


def post(web: Web, body: bytes | dict, **headers: str) -> Answer:
    given = {HEADER: SECRET, "Content-Type": "application/json", **headers}
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    return web.call("POST", "/hooks/telegram", role=None, body=sent, headers=given)


def stored(web: Web) -> int:
    with web.db.transaction() as session:
        return session.execute(text("SELECT count(*) FROM telegram_update")).scalar_one()


def member(update_id: int, chat: int, status: str) -> dict:
    content = {"chat": {"id": chat, "type": "private"}, "new_chat_member": {"status": status}}
    return {"update_id": update_id, "my_chat_member": content}


def test_an_update_is_stored_once_and_a_repeat_says_so(bot: Web):
    update = {"update_id": 1, "message": {"chat": {"id": 5}, "text": "/start"}}
    first = post(bot, update)
    assert (first.status, first.json) == (200, {"stored": True})
    again = post(bot, update)
    assert (again.status, again.json) == (200, {"duplicate": True})
    assert stored(bot) == 1


def test_fifty_repeats_at_once_are_one(bot: Web):
    before, answers = stored(bot), []
    threads = [
        threading.Thread(target=lambda: answers.append(post(bot, {"update_id": 2, "message": {}}).json))
        for _ in range(50)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(answers) == 50
    assert answers.count({"stored": True}) == 1
    assert stored(bot) == before + 1


@pytest.mark.parametrize("given", [None, "", "wrong", SECRET[:-1], SECRET + "x", f"{SECRET},{SECRET}", "é"])
def test_without_the_secret_nothing_is_read(bot: Web, given):
    before = stored(bot)
    headers = {} if given is None else {HEADER: given}
    body = json.dumps({"update_id": 99, "message": {}}).encode()
    answer = bot.call("POST", "/hooks/telegram", role=None, body=body, headers=headers)
    assert (answer.status, answer.json["code"]) == (401, "bad_secret")
    assert stored(bot) == before


def test_where_no_secret_is_set_nobody_is_believed(web: Web):
    for headers in ({}, {HEADER: ""}, {HEADER: "x"}):
        answer = web.call("POST", "/hooks/telegram", role=None, body=b'{"update_id": 1}', headers=headers)
        assert answer.status == 401


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"null", b'"x"', b"\xff", b'{"message": {}}', b'{"update_id": "7"}',
        b'{"update_id": 1180591620717411303424}', b'{"update_id": -1}', b'{"update_id": true}',
        b'{"update_id": 1.5}', b'{"update_id": 7, "update_id": 8}', b'{"update_id": NaN}',
        b'{"update_id": 7, "message": ' + b"[" * 60 + b"]" * 60 + b"}",
    ],
)  # fmt: skip
def test_what_is_no_update_is_refused(bot: Web, body):
    before = stored(bot)
    assert post(bot, body).status == 400
    assert stored(bot) == before


def test_a_body_over_the_limit_is_refused(bot: Web):
    assert post(bot, b'{"update_id": 3, "x": "' + b"a" * 262_144 + b'"}').status == 413


def test_unknown_kinds_are_kept_and_ignored(bot: Web):
    for number, key in enumerate(("purchased_paid_media", "future_thing", "\ud800", "A B", "")):
        answer = post(bot, {"update_id": 1000 + number, key: {"chat": {"id": 1}}})
        assert (answer.status, answer.json) == (200, {"stored": True}), key
    send_planned.run(build.run(bot.db, "notices"), {})
    with bot.db.transaction() as session:
        rows = session.execute(
            text("SELECT result FROM telegram_update WHERE update_id >= 1000 AND update_id < 1010")
        ).scalars()
        assert set(rows) == {"ignored"}


def test_who_blocks_the_bot_is_unreachable_until_they_come_back(bot: Web):
    id_ = build.customer(bot.db, telegram_chat_id="4711")
    other = build.customer(bot.db, telegram_chat_id="4712")

    def blocked(customer: str) -> bool:
        (row,) = build.rows(
            bot.db, "SELECT telegram_blocked_at AS at FROM customer WHERE id = :id", id=customer
        )
        return row.at is not None

    def processed() -> None:
        send_planned.run(build.run(bot.db, "notices"), {})
        assert build.rows(bot.db, "SELECT 1 FROM telegram_update WHERE processed_at IS NULL") == []

    assert post(bot, member(20, 4711, "kicked")).status == 200
    assert not blocked(id_), "nothing but storing happens in the request"
    processed()
    assert blocked(id_)
    assert not blocked(other)
    post(bot, member(21, 4711, "member"))
    processed()
    assert not blocked(id_)
    post(bot, member(22, 4711, "kicked"))
    post(bot, {"update_id": 23, "message": {"chat": {"id": 4711}, "text": "/start"}})
    processed()
    assert not blocked(id_), "in the order of their numbers"
    for number, content in enumerate(
        ({}, {"chat": 1}, {"chat": {"id": "4711"}}, None, {"chat": {"id": True}})
    ):
        post(bot, {"update_id": 30 + number, "my_chat_member": content})
    processed()
    results = build.rows(bot.db, "SELECT result FROM telegram_update WHERE update_id BETWEEN 30 AND 40")
    assert {row.result for row in results} == {"unusable"}


def test_when_postgres_cannot_store_the_sender_is_asked_to_repeat(bot: Web):
    with psycopg.connect(bot.db.url) as holder:  # without our limit for who is idle in a transaction
        holder.execute("LOCK TABLE telegram_update IN ACCESS EXCLUSIVE MODE")
        answer = post(bot, {"update_id": 50, "message": {}})
    assert answer.status == 503
    assert int(answer.headers["Retry-After"]) >= 1
    assert post(bot, {"update_id": 50, "message": {}}).json == {"stored": True}


def test_a_body_that_never_comes_ends_the_handler_at_25_s(bot: Web):
    """Both hooks at once, because each takes its time."""
    answers: dict[str, bytes] = {}

    def drip(path: str) -> None:
        with socket.create_connection(("127.0.0.1", bot.port), timeout=60) as sock:
            head = f"POST {path} HTTP/1.1\r\nHost: x\r\n{HEADER}: {SECRET}\r\nContent-Length: 100\r\n\r\n"
            sock.sendall(head.encode() + b'{"upd')
            answers[path] = sock.recv(4096)

    threads = [
        threading.Thread(target=drip, args=(path,)) for path in ("/hooks/telegram", "/hooks/payments/bank")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(70)
    assert {path: answer.split(b" ")[1] for path, answer in answers.items()} == {
        "/hooks/telegram": b"503",
        "/hooks/payments/bank": b"503",
    }
    lines = until(lambda: [line for line in bot.log() if line["event"] == "WEBHOOK_HANDLER_TIMEOUT"])
    assert {line["path"] for line in lines} == set(answers)
    assert SECRET not in bot.log_file.read_text()
