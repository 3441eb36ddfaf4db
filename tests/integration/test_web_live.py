"""The WebSocket: who gets in, what is answered, and that events arrive once and in order."""

from __future__ import annotations

import contextlib
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import websocket
from sqlalchemy import text

from tenure.embedded.postgres import Postgres
from tenure.embedded.valkey import Valkey
from tenure.events import order
from tenure.events.append import NewEvent, append
from tenure.events.publish import Publisher
from tenure.kit.valkey import connect
from tests.support import services
from tests.support import web as web_support
from tests.support.sockets import Client, client
from tests.support.waiting import until
from tests.support.web import EMAIL, PASSWORD, Web

LIVE = 6


@pytest.fixture
def live(valkey_server: Valkey):
    with contextlib.closing(connect(valkey_server.url(LIVE))) as made:
        yield made


@pytest.fixture
def tell(web: Web, live):
    """Write events and bring them to the live layer, as the relay does."""
    publisher = Publisher(live, epoch="first")

    def tell(*given: NewEvent, told: bool = True) -> list[int]:
        with web.db.transaction() as session:
            append(session, given)
        with web.db.transaction() as session:
            before = session.execute(text("SELECT coalesce(max(seq), 0) FROM event_seq")).scalar_one()
            order.number_pending(session)
        with web.db.transaction() as session:
            placed = order.after(session, before, limit=10_000)
        if told:
            publisher.publish(placed)
        return [event.seq for event in placed]

    return tell


def event(number: int = 0, subject: str = "subscription:sub_1") -> NewEvent:
    return NewEvent("subscription.renewed", subject, ("subscriptions", subject), {"n": number})


def login_cookie(web: Web) -> str:
    answer = web.call("POST", "/auth/login", role=None, json={"email": EMAIL, "password": PASSWORD})
    return answer.headers["Set-Cookie"].split(";")[0]


def access_token(web: Web) -> str:
    given = {"email": EMAIL, "password": PASSWORD, "transport": "body"}
    return web.call("POST", "/auth/login", role=None, json=given).json["access_token"]


# -- who gets in ------------------------------------------------------------------------------------------


def test_hello_tells_the_rules_and_auth_lets_in(web: Web):
    with client(web, subprotocols=["tenure.v1"]) as it:
        hello = it.next()
        assert {
            "event": "hello",
            "ping_interval_ms": 25000,
            "pong_timeout_ms": 10000,
        }.items() <= hello.items()
        assert (hello["max_message"], hello["history"]) == (65536, 100)
        assert it.socket.subprotocol == "tenure.v1"
        answer = it.ask(type="auth", token=web.key("viewer"))
        assert it.seen[-2]["event"] == "authenticated"
        assert it.seen[-2]["user"]["role"] == "viewer"
        assert answer["event"] == "ack"
    until(lambda: any(line["event"] == "ws.authenticated" for line in web.log()))


def test_an_access_token_and_a_ticket_let_in_once(web: Web):
    token = access_token(web)
    with client(web) as it:
        it.send(type="auth", token=token)
        assert it.until(event="authenticated")["expires_at"].endswith("Z")
    ticket = web.call("POST", "/ws-ticket", role="viewer").json
    assert ticket["expires_in"] == 30
    with client(web) as it:
        it.send(type="auth", ticket=ticket["ticket"])
        it.until(event="authenticated")
    with client(web) as it:
        it.send(type="auth", ticket=ticket["ticket"])
        assert it.close_code() == 4001


@pytest.mark.parametrize("frame", [{"token": "wrong"}, {"token": "tnk_wrong"}, {"ticket": "tkt_x"}, {}])
def test_a_bad_credential_is_answered_and_closed_with_4001(web: Web, frame):
    with client(web) as it:
        it.send(type="auth", rid="a", **frame)
        assert it.close_code() == 4001
        errors = [seen for seen in it.seen if seen["event"] == "error"]
        assert [(error["rid"], error["code"]) for error in errors] == [("a", "unauthenticated")]


def test_a_page_of_another_origin_gets_4003_and_no_data(web: Web):
    for origin in ("https://evil.example", "null", f"http://127.0.0.1:{web.port + 1}"):
        with client(web, origin=origin, cookie=login_cookie(web)) as it:
            assert it.close_code() == 4003
            assert it.seen == []
    until(lambda: any(line["event"] == "ws.origin_rejected" for line in web.log()))


def test_the_cookie_counts_only_with_our_own_origin(web: Web):
    cookie = login_cookie(web)
    with client(web, origin=web.url, cookie=cookie) as it:
        assert it.until(event="authenticated")["user"]["email"] == EMAIL
    with client(web, cookie=cookie) as it:
        assert it.ask(type="subscribe", channels=["iterations"])["code"] == "unauthenticated"


def test_nothing_but_auth_and_ping_works_before_auth(web: Web):
    with client(web) as it:
        for frame in (
            {"type": "subscribe", "channels": ["system"]},
            {"type": "run", "job": "expiry", "key": "k"},
        ):
            assert it.ask(**frame)["code"] == "unauthenticated"
        it.send(type="ping", id=7)
        pong = it.until(event="pong")
        assert pong["id"] == 7
        assert pong["timestamp"] > 0


def test_a_revoked_key_closes_its_sockets(web: Web):
    made = web.call("POST", "/api-keys", json={"name": "brief", "role": "viewer"}).json
    with client(web) as it:
        it.send(type="auth", token=made["key"])
        it.until(event="authenticated")
        web.call("DELETE", f"/api-keys/{made['id']}")
        assert it.close_code() == 4001


# -- what is answered -------------------------------------------------------------------------------------


def test_every_frame_with_rid_gets_exactly_one_answer(web: Web):
    with client(web, "operator") as it:
        asked: dict[str, tuple[dict[str, Any], str]] = {
            "1": ({"type": "ping"}, "ack"),
            "2": ({"type": "subscribe", "channels": ["iterations"]}, "ack"),
            "3": ({"type": "unsubscribe", "channels": ["iterations", "never"]}, "ack"),
            "4": ({"type": "subscribe", "channels": ["nonsense"]}, "not_found"),
            "5": ({"type": "subscribe", "channels": []}, "invalid"),
            "6": ({"type": "subscribe", "channels": [f"slot:{n}" for n in range(51)]}, "too_many_channels"),
            "7": ({"type": "run", "job": "nothing", "key": "x"}, "not_found"),
            "8": ({"type": "run", "job": "expiry"}, "invalid"),
            "9": ({"type": "dance"}, "unknown_type"),
            "10": ({"type": "subscribe", "channels": ["system"], "since": {"system": 5}}, "invalid"),
        }
        for rid, (frame, _) in asked.items():
            it.send(rid=rid, **frame)
        it.send(rid="last", type="pong")
        it.until(rid="last")
        for rid, (frame, wanted) in asked.items():
            answers = [seen for seen in it.seen if seen.get("rid") == rid]
            assert len(answers) == 1, (frame, answers)
            assert answers[0].get("code", answers[0]["event"]) == wanted, frame


def test_three_malformed_frames_close_with_4000(web: Web):
    with client(web, "viewer") as it:
        for bad in ("{", "[]", '{"type": 1}'):
            it.send_text(bad)
        assert it.close_code() == 4000
        assert [seen["code"] for seen in it.seen if seen["event"] == "error"] == ["malformed"] * 3


def test_frames_that_break_the_protocol_close_with_their_code(web: Web):
    with client(web, "viewer") as it:
        it.socket.send_binary(b"\x00\x01")
        assert it.close_code() == 1003
    with client(web, "viewer") as it:
        it.socket.send(b"\xff\xfe", websocket.ABNF.OPCODE_TEXT)
        assert it.close_code() == 1007
    with client(web, "viewer") as it:
        it.send_text("x" * 65_537)
        assert it.close_code() == 1009
    with client(web, "viewer") as it:
        assert it.socket.sock is not None
        it.socket.sock.sendall(b"\x81\x02hi")  # a client's frame without a mask
        assert it.close_code() == 1002


def test_a_message_in_pieces_is_read_whole(web: Web):
    with client(web) as it:
        abnf = websocket.ABNF
        it.socket.send_frame(abnf.create_frame('{"type": "pi', abnf.OPCODE_TEXT, fin=0))
        it.socket.ping("between")
        it.socket.send_frame(abnf.create_frame('ng", "id": "x"}', abnf.OPCODE_CONT, fin=1))
        while True:
            opcode, data = it.socket.recv_data(control_frame=True)
            if opcode == abnf.OPCODE_TEXT and json.loads(data)["event"] == "pong":
                break
        assert json.loads(data)["id"] == "x"


def test_a_flood_is_throttled_and_then_closed_with_4029(web: Web):
    with client(web, "viewer") as it:
        for _ in range(200):
            it.send_text('{"type": "ping"}')
        assert it.close_code() == 4029
        assert any(seen.get("code") == "throttled" and seen["retry_after_ms"] >= 0 for seen in it.seen)


def test_compression_is_declined(web: Web):
    with client(web, header=["Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"]) as it:
        assert it.next()["event"] == "hello"
        assert "sec-websocket-extensions" not in (it.socket.getheaders() or {})


def test_what_is_no_handshake_is_a_clear_error(web: Web):
    assert web.call("GET", "/ws", role=None).status == 400
    broken = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "1"}
    assert web.call("GET", "/ws", role=None, headers=broken).status == 426


# -- runs -------------------------------------------------------------------------------------------------


def test_a_run_is_asked_for_once_by_its_key(web: Web):
    with client(web, "operator") as it:
        first = it.ask(type="run", job="expiry", scope="ws", key="one")
        again = it.ask(type="run", job="expiry", scope="ws", key="one")
        assert first["result"]["slot_id"] == again["result"]["slot_id"]
        assert "duplicate" not in first
        assert again["duplicate"] is True
        other = it.ask(type="run", job="reminders", scope="ws", key="one")
        assert other["code"] == "idempotency_conflict"
        slot = web.call("GET", f"/slots/{first['result']['slot_id']}").json
        assert (slot["job"], slot["scope"], slot["origin"]) == ("expiry", "ws", "run")


def test_a_viewer_may_not_run(web: Web):
    with client(web, "viewer") as it:
        assert it.ask(type="run", job="expiry", scope="viewer", key="v")["code"] == "forbidden"
    assert not web.call("GET", "/slots?scope=viewer").json["items"]


# -- events -----------------------------------------------------------------------------------------------


def subscribe(it: Client, *channels: str, **since) -> dict:
    more = {"since": since} if since else {}
    return it.ask(type="subscribe", channels=list(channels), **more)["result"]["channels"]


def test_events_arrive_on_broad_and_object_channels(web: Web, tell):
    with client(web, "viewer") as it:
        at = subscribe(it, "subscriptions", "subscription:sub_1")
        (seq,) = tell(event(5))
        found = [it.until(event="event"), it.until(event="event")]
        assert {frame["channel"] for frame in found} == {"subscriptions", "subscription:sub_1"}
        for frame in found:
            before = at[frame["channel"]]
            assert frame["offset"] == before["offset"] + 1
            assert (frame["seq"], frame["type"], frame["data"]) == (seq, "subscription.renewed", {"n": 5})
            assert frame["id"].startswith("evt_")
            assert frame["ts"]


def test_after_unsubscribe_nothing_arrives(web: Web, tell):
    with client(web, "viewer") as it:
        subscribe(it, "subscriptions")
        it.ask(type="unsubscribe", channels=["subscriptions"])
        tell(event())
        it.ask(type="ping")
        assert not [seen for seen in it.seen if seen["event"] == "event"]


def test_a_client_that_comes_back_misses_nothing_and_sees_nothing_twice(web: Web, tell):
    channels = ("subscriptions", "subscription:sub_1")
    with client(web, "viewer") as it:
        at = subscribe(it, *channels)
    tell(*[event(n) for n in range(20)])
    with client(web, "viewer") as it:
        since = {name: at[name] for name in channels}
        top = it.ask(type="subscribe", channels=list(channels), since=since)["result"]["channels"]
        recovered = [it.until(event="recovered"), it.until(event="recovered")]
        assert all(frame["complete"] for frame in recovered)
        tell(event(20))
        it.until(event="event", data={"n": 20})
        it.until(event="event", data={"n": 20})
        for name in channels:
            offsets = [f["offset"] for f in it.seen if f["event"] == "event" and f["channel"] == name]
            assert offsets == list(range(at[name]["offset"] + 1, at[name]["offset"] + 22))
            assert top[name]["offset"] == at[name]["offset"] + 20


def test_history_that_is_gone_is_admitted_on_a_broad_channel_and_whole_on_an_object(web: Web, tell):
    with client(web, "viewer") as it:
        at = subscribe(it, "subscriptions", "subscription:sub_1")
    for _ in range(3):
        tell(*[event(n) for n in range(40)])
    with client(web, "viewer") as it:
        it.send(type="subscribe", channels=list(at), since=at, rid="x")
        recovered = {frame["channel"]: frame for frame in (it.until(event="recovered") for _ in range(2))}
        assert recovered["subscriptions"]["complete"] is False
        assert recovered["subscription:sub_1"]["complete"] is True
        assert len([f for f in it.seen if f["event"] == "event"]) == 120


def test_a_wrong_epoch_is_not_mistaken_for_a_place(web: Web):
    with client(web, "viewer") as it:
        it.send(
            type="subscribe", channels=["subscriptions"], since={"subscriptions": {"offset": 1, "epoch": "x"}}
        )
        assert it.until(event="recovered")["complete"] is False


def test_a_lost_ring_is_repaired_before_anything_later_is_delivered(web: Web, tell, live):
    with client(web, "viewer") as it:
        at = subscribe(it, "subscriptions")["subscriptions"]
        tell(event(1))
        it.until(event="event", data={"n": 1})
        # The stream and the meta move on, but nobody hears the bell.
        meta, stream = "tenure:live:meta:subscriptions", "tenure:live:stream:subscriptions"
        offset = live.hincrby(meta, "off", 1)
        body = {"id": "evt_silent", "seq": 0, "type": "x", "ts": "", "subject": "", "data": {"n": "silent"}}
        live.xadd(stream, {"e": json.dumps(body)}, id=f"{offset}-0")
        tell(event(3))
        it.until(event="event", data={"n": 3})
        events = [frame for frame in it.seen if frame["event"] == "event"]
        assert [frame["data"]["n"] for frame in events] == [1, "silent", 3]
        assert [frame["offset"] for frame in events] == [at["offset"] + n for n in (1, 2, 3)]


def test_a_new_life_of_the_live_valkey_tells_a_gap(web: Web, tell, live):
    with client(web, "viewer") as it:
        subscribe(it, "subscriptions")
        tell(event(1))
        it.until(event="event", data={"n": 1})
        live.flushdb()
        Publisher(live, epoch="second")
        with web.db.transaction() as session:
            append(session, [event(2)])
            order.number_pending(session)
        with web.db.transaction() as session:
            newest = order.after(session, 0, limit=10_000)[-1:]
        Publisher(live, epoch="second").publish(newest)
        frame = it.until(event="event", data={"n": 2})
        assert (frame["epoch"] != "first", frame["offset"]) == (True, 1)
        assert [seen for seen in it.seen if seen["event"] == "gap"]


def test_a_burst_reaches_everybody_in_order(web: Web, tell):
    clients = [Client(web) for _ in range(5)]
    try:
        for it in clients:
            it.send(type="auth", token=web.key("viewer"))
            it.until(event="authenticated")
            subscribe(it, "subscription:sub_burst")
        tell(*[event(n, "subscription:sub_burst") for n in range(300)])
        for it in clients:
            for n in range(300):
                assert it.until(event="event")["offset"] == n + 1
    finally:
        for it in clients:
            it.close()


def test_figures_of_the_node_are_shown(web: Web, live):
    with client(web, "viewer"):
        until(
            lambda: any(int(live.hget(key, "connections")) >= 1 for key in live.scan_iter("tenure:ws:node:*"))
        )
        (key,) = live.scan_iter("tenure:ws:node:*")
        figures = live.hgetall(key)
        names = "connections total_messages events_out slow_closed heartbeat_closed origin_rejected throttled"
        assert {*names.split(), "auth_failed", "gaps"} <= figures.keys()
        assert 0 < live.ttl(key) <= 15


# -- processes of their own -------------------------------------------------------------------------------


@pytest.fixture
def own(postgres: Postgres, template_database: str, valkey_server: Valkey, tmp_path: Path) -> Iterator[dict]:
    for number in (7, 8):  # what the test before counted
        with contextlib.closing(valkey_server.connect(number)) as kept:
            kept.flushdb()
    with services.fresh_database(postgres, template=template_database) as url:
        yield {
            "folder": tmp_path,
            "database_url": url,
            "broker_url": valkey_server.url(7),
            "live_url": valkey_server.url(8),
        }


def test_sigterm_says_not_ready_then_closes_everybody_with_1001(own):
    # Long enough to ask twice while it drains, also on a machine that stands still now and then.
    with web_support.running(**own, TENURE_DRAIN_DELAY_S="10") as web:
        with client(web, "viewer") as it:
            it.socket.settimeout(60)
            web.process.send_signal(signal.SIGTERM)
            until(lambda: web.call("GET", "/readyz", role=None).status == 503)
            assert web.call("GET", "/me").status == 200, "requests are served while it drains"
            assert it.close_code() == 1001
            goodbye = it.seen[-1]
            assert goodbye["event"] == "goodbye"
            assert 0 <= goodbye["reconnect_in_ms"] < 5000
        assert web_support.stop(web) == 0


def test_a_drain_may_take_longer_than_gunicorn_would_wait_by_itself(own):
    with (
        web_support.running(**own, TENURE_DRAIN_DELAY_S="17") as web,
        client(web, "viewer") as it,
    ):
        it.socket.settimeout(60)
        web.process.send_signal(signal.SIGTERM)
        assert it.close_code() == 1001, "nobody is killed before the goodbye"
        assert it.seen[-1]["event"] == "goodbye"
        it.close()
        assert web_support.stop(web) == 0


def test_limits_at_the_gate_answer_with_retry_after(own):
    limits = {"login_per_min": 3, "api_per_min": 8, "run_per_min": 1, "ws_handshakes_per_min": 2}
    with web_support.running(**own, TENURE_LIMITS=json.dumps(limits)) as web:
        given = {"email": EMAIL, "password": "wrong"}
        answers = [web.call("POST", "/auth/login", role=None, json=given) for _ in range(4)]
        assert [answer.status for answer in answers] == [401, 401, 401, 429]
        assert int(answers[-1].headers["Retry-After"]) >= 1
        assert answers[-1].json["code"] == "throttled"
        runs = [web.call("POST", "/jobs/expiry/runs", role="operator", json={}) for _ in range(2)]
        assert [answer.status for answer in runs] == [202, 429]
        calls = [web.call("GET", "/me", role="viewer") for _ in range(9)]
        assert calls[0].headers["X-RateLimit-Limit"] == "8"
        assert [answer.status for answer in calls] == [200] * 8 + [429]
        assert int(calls[-1].headers["Retry-After"]) >= 1
        codes: list[int | None] = []
        for _ in range(3):
            with client(web) as it:
                codes.append(it.next()["event"] if len(codes) < 2 else it.close_code())
        assert codes == ["hello", "hello", 4029]


def test_addresses_behind_a_proxy_count_apart_only_when_the_proxy_is_trusted(own):
    limits = json.dumps({**web_support.OFF, "ws_handshakes_per_min": 1})
    here = "127.0.0.1"

    def let_in(web: Web, forwarded: str) -> bool:
        with client(web, header=[f"X-Forwarded-For: {forwarded}"]) as it:
            opcode, data = it.socket.recv_data()
            return opcode == websocket.ABNF.OPCODE_TEXT or int.from_bytes(data[:2], "big") != 4029

    with web_support.running(**own, TENURE_LIMITS=limits, TENURE_TRUSTED_PROXIES=here) as web:
        assert [let_in(web, one) for one in ("203.0.113.1", "203.0.113.2")] == [True, True]
        assert not let_in(web, "203.0.113.1")
        assert not let_in(web, "198.51.100.7, 203.0.113.2"), "what the client itself wrote counts for nothing"
        secure = f"https://{here}:{web.port}"
        with client(web, origin=secure, header=["X-Forwarded-Proto: https"]) as it:
            assert it.next()["event"] == "hello", "the origin is the one that the proxy was asked for"


def test_a_stranger_does_not_choose_its_address(own):
    limits = json.dumps({**web_support.OFF, "ws_handshakes_per_min": 1})
    with web_support.running(**own, TENURE_LIMITS=limits) as web:
        with client(web, header=["X-Forwarded-For: 203.0.113.1"]) as it:
            assert it.next()["event"] == "hello"
        with client(web, header=["X-Forwarded-For: 203.0.113.2"]) as it:
            assert it.close_code() == 4029
        secure = f"https://127.0.0.1:{web.port}"
        with client(web, origin=secure, header=["X-Forwarded-Proto: https"]) as it:
            assert it.close_code() == 4003


def test_a_silent_peer_is_pinged_and_then_closed_with_4008(web: Web):
    with client(web, "viewer") as silent, client(web, "viewer") as alive:
        # A client that answers pings stays; websocket-client answers only while somebody receives.
        def closed() -> bool:
            alive.socket.settimeout(0.2)
            with contextlib.suppress(websocket.WebSocketTimeoutException):
                alive.socket.recv_data()
            return any(line["event"] == "ws.heartbeat_closed" for line in web.log())

        until(closed, 120, what="the silent one is closed")
        assert silent.close_code() == 4008
        alive.socket.settimeout(10)
        alive.ask(type="ping")
