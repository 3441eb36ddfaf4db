"""The Python client against a real server: calls, repeats, pages, and channels that survive every break."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import text

from tenure.client import Client, Event, Gap, Live, LiveEnded, Position, Problem, State
from tenure.client.credentials import SignIn
from tenure.client.errors import CommandRefused
from tenure.client.returning import Returning
from tenure.client.wire import Closed, Place
from tenure.errors import Invalid
from tenure.events import order
from tenure.events.append import NewEvent, append
from tenure.events.publish import Publisher
from tenure.kit.http import Unsent
from tenure.kit.valkey import connect
from tests.support.rawserver import RawServer, raw_server
from tests.support.waiting import until
from tests.support.web import EMAIL, PASSWORD, Web

LIVE = 6


@pytest.fixture
def client(web: Web) -> Iterator[Client]:
    with Client(web.url, api_key=web.key("admin")) as made:
        yield made


@pytest.fixture
def live_valkey(valkey_server):
    made = connect(valkey_server.url(LIVE))
    yield made
    made.close()


@pytest.fixture
def tell(web: Web, live_valkey):
    """Write events and publish them, as the relay does; their numbers."""
    publisher = Publisher(live_valkey, epoch="first")

    def tell(*numbers: int, subject: str = "subscription:sub_c") -> None:
        at = ("subscriptions", subject)
        given = [NewEvent("subscription.renewed", subject, at, {"n": n}) for n in numbers]
        with web.db.transaction() as session:
            append(session, given)
        with web.db.transaction() as session:
            before = session.execute(text("SELECT coalesce(max(seq), 0) FROM event_seq")).scalar_one()
            order.number_pending(session)
        with web.db.transaction() as session:
            placed = order.after(session, before, limit=10_000)
        publisher.publish(placed)

    return tell


def numbers(live: Live, count: int) -> list[int]:
    """The next events' numbers; a gap fails the test."""
    found = []
    for _ in range(count):
        item = live.next(20)
        assert isinstance(item, Event), item
        found.append(item.data["n"])
    return found


def cut(live: Live) -> None:
    """The network breaks."""
    assert live._wire is not None
    live._wire._tcp.shutdown(socket.SHUT_RDWR)


# -- calls ------------------------------------------------------------------------------------------------


def test_a_problem_is_an_exception_that_names_the_fields(client: Client):
    with pytest.raises(Problem) as caught:
        client.post("/customers", {"external_id": "", "surprise": 1})
    problem = caught.value
    assert (problem.answered_status, problem.instance_code) == (422, "invalid")
    assert {error.field for error in problem.errors} >= {"surprise"}
    assert problem.request_id is not None
    with pytest.raises(Problem) as missing:
        client.get("/customers/cus_none")
    assert missing.value.answered_status == 404


def test_a_list_is_walked_through_all_its_pages(client: Client):
    made = [
        client.post("/customers", {"external_id": f"page-{n}", "email": "a@b.example"})["id"]
        for n in range(7)
    ]
    seen = [one["id"] for one in client.pages("/customers", limit=2)]
    assert set(made) <= set(seen)
    assert len(seen) == len(set(seen))


def test_a_post_with_the_same_key_happens_once(client: Client):
    given = {"external_id": "once", "email": "a@b.example"}
    first = client.post("/customers", given, key="the-key")
    assert client.post("/customers", given, key="the-key") == first
    with pytest.raises(Problem) as caught:
        client.post("/customers", {**given, "external_id": "other"}, key="the-key")
    assert caught.value.instance_code == "idempotency_mismatch"


def test_a_sign_in_is_renewed_when_its_token_is_refused(web: Web):
    with Client(web.url, email=EMAIL, password=PASSWORD) as client:
        assert client.get("/me")["email"] == EMAIL
        assert isinstance(client.credential, SignIn)
        client.credential._token = "stale"  # as after a change of the signing key
        assert client.get("/me")["email"] == EMAIL
    with Client(web.url, email=EMAIL, password="wrong wrong wrong") as client:
        with pytest.raises(Problem) as caught:
            client.get("/me")
        assert caught.value.answered_status == 401


def test_secrets_are_not_shown_and_credentials_are_not_mixed(web: Web):
    assert "tnk_" not in repr(Client(web.url, api_key="tnk_secret"))
    mixed: list[dict[str, Any]] = [{}, {"api_key": "a", "email": "b", "password": "c"}, {"email": "b"}]
    for given in mixed:
        with pytest.raises(Invalid):
            Client(web.url, **given)


def answering(*answers: bytes):
    """A server that answers its first requests so, and closes after each; b"" hangs up without an answer."""
    given = iter(answers)

    def behave(server: RawServer, connection: socket.socket) -> None:
        if server.read_request(connection):
            connection.sendall(next(given))

    return raw_server(behave)


def answer(status: int, document: object = None, *headers: str) -> bytes:
    body = json.dumps(document or {}).encode()
    head = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", "Connection: close", *headers, "", ""]
    return "\r\n".join(head).encode() + body


def keys_of(server: RawServer) -> list[bytes]:
    lines = [line for request in server.requests for line in request.split(b"\r\n")]
    return [line for line in lines if line.lower().startswith(b"idempotency-key")]


def test_a_busy_server_is_asked_again_and_a_cut_answer_too_with_the_same_key():
    with (
        answering(
            answer(503, {}, "Retry-After: 1"), b"", answer(429, {}, "Retry-After: 0"), answer(201, {"id": 1})
        ) as server,
        Client(server.url, api_key="k") as client,
    ):
        assert client.post("/customers", {}) == {"id": 1}
        assert len(server.requests) == 4
        assert len(set(keys_of(server))) == 1


def test_what_may_have_happened_is_not_repeated_without_a_key():
    with answering(b"", answer(200)) as server, Client(server.url, api_key="k") as client:
        with pytest.raises(Exception, match="no answer came"):
            client.patch("/plans/basic", {"name": "x"})
        assert len(server.requests) == 1


def test_a_wait_beyond_the_deadline_is_not_begun():
    with (
        answering(answer(429, {"code": "throttled"}, "Retry-After: 60")) as server,
        Client(server.url, api_key="k", deadline_s=5) as client,
    ):
        with pytest.raises(Problem) as caught:
            client.get("/me")
        assert (caught.value.instance_code, caught.value.retry_after_s) == ("throttled", 60)


def test_a_server_that_is_not_there_is_tried_until_the_deadline():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # it does not listen, and nobody else is given the port meanwhile
        url = f"http://127.0.0.1:{held.getsockname()[1]}"
        with Client(url, api_key="k", deadline_s=1) as client, pytest.raises(Unsent):
            client.get("/me")


# -- the live side ----------------------------------------------------------------------------------------


def test_events_arrive_in_order_on_each_channel(client: Client, tell):
    with client.live(["subscriptions", "subscription:sub_c"]) as live:
        live.wait_open()
        tell(*range(40))
        found = [live.next(20) for _ in range(80)]
        for channel in ("subscriptions", "subscription:sub_c"):
            got = [e.data["n"] for e in found if isinstance(e, Event) and e.channel == channel]
            assert got == list(range(40))


def test_a_for_loop_ends_when_another_thread_closes(client: Client, tell):
    live = client.live(["subscriptions"])
    live.wait_open()
    tell(1, 2, 3)
    seen = []
    for item in live:
        seen.append(item)
        if len(seen) == 3:
            threading.Thread(target=live.close).start()
    assert live.state is State.CLOSED
    assert live.next(0) is None


def test_a_break_without_a_word_loses_nothing_and_doubles_nothing(client: Client, tell):
    with client.live(["subscriptions", "subscription:sub_c"]) as live:
        live.wait_open()
        for round_ in range(3):
            until(lambda: live.state is State.OPEN)
            cut(live)
            tell(*range(round_ * 10, round_ * 10 + 10))
            found = [live.next(20) for _ in range(20)]
            for channel in ("subscriptions", "subscription:sub_c"):
                got = [e.data["n"] for e in found if isinstance(e, Event) and e.channel == channel]
                assert got == list(range(round_ * 10, round_ * 10 + 10))
        assert live.connections == 4


def test_places_of_another_day_are_taken_up(client: Client, tell):
    with client.live(["subscriptions"]) as live:
        live.wait_open()
        tell(1, 2)
        assert numbers(live, 1) == [1]
        places = live.positions()
    tell(3)
    with client.live(["subscriptions"], since=places) as live:
        assert numbers(live, 2) == [2, 3]


def test_history_that_is_gone_is_a_gap_that_can_be_read_over_http(client: Client, tell):
    with client.live(["subscriptions"]) as live:
        live.wait_open()
        tell(0)
        assert numbers(live, 1) == [0]
        places = live.positions()
    for start in range(1, 151, 50):
        tell(*range(start, start + 50))
    with client.live(["subscriptions"], since=places) as live:
        gap = live.next(20)
        assert isinstance(gap, Gap)
        assert gap.channel == "subscriptions"
        tell(151)
        assert numbers(live, 1) == [151]
    missed = [e["data"]["n"] for e in client.events() if e["subject"] == "subscription:sub_c"][-151:]
    assert missed == list(range(1, 152))


def test_a_memory_that_began_anew_is_a_gap_and_nothing_is_told_twice(
    client: Client, tell, live_valkey, web: Web
):
    with client.live(["subscriptions"]) as live:
        live.wait_open()
        tell(1, 2, 3)
        assert numbers(live, 3) == [1, 2, 3]
        live_valkey.flushdb()
        with web.db.transaction() as session:
            append(session, [NewEvent("test.four", "subscription:x", ("subscriptions",), {"n": 4})])
            order.number_pending(session)
        with web.db.transaction() as session:
            last_four = order.after(session, 0, limit=10_000)[-4:]
        Publisher(live_valkey, epoch="second").publish(last_four)
        items: list[Any] = []
        while not (items and isinstance(items[-1], Event)):
            items.append(live.next(20))
        assert [type(item) for item in items[:-1]] == [Gap] * (len(items) - 1)
        assert items[-1].data["n"] == 4
        assert len(items) > 1


def test_a_hole_is_repaired_from_the_history(client: Client, tell, web: Web):
    with client.live(["subscriptions"]) as live:
        live.wait_open()
        tell(1)
        assert numbers(live, 1) == [1]
        followed = live._channels.by_name["subscriptions"]
        assert followed.position is not None
        followed.position = Position(followed.position.offset - 1, followed.position.epoch)
        followed.seq = 0  # as if the last one had never come
        tell(2)
        assert numbers(live, 2) == [1, 2]


def test_a_run_is_asked_for_once_by_its_key_and_refusals_are_exceptions(client: Client, web: Web):
    with client.live(["iterations"]) as live:
        first = live.run("expiry", "client", key="k1")
        again = live.run("expiry", "client", key="k1")
        assert (first.duplicate, again.duplicate) == (False, True)
        assert first.slot_id == again.slot_id
        with pytest.raises(CommandRefused) as caught:
            live.run("no such job")
        assert caught.value.instance_code == "not_found"
        assert live.state is State.OPEN
    with Client(web.url, api_key=web.key("viewer")) as viewer, viewer.live(["system"]) as live:
        with pytest.raises(CommandRefused) as forbidden:
            live.run("expiry")
        assert forbidden.value.instance_code == "forbidden"


def test_a_run_asked_for_while_the_line_is_broken_is_carried_out_after_the_return(client: Client, web: Web):
    with client.live(["iterations"]) as live:
        live.wait_open()
        cut(live)
        ack = live.run("expiry", "broken", key="k2")
        assert client.get(f"/slots/{ack.slot_id}")["scope"] == "broken"
        assert len(client.get("/slots", scope="broken")["items"]) == 1


def test_a_bad_key_a_bad_channel_and_a_revoked_key_end_it_for_good(client: Client, web: Web):
    with Client(web.url, api_key="tnk_wrong") as stranger, stranger.live(["system"]) as live:
        with pytest.raises(LiveEnded) as caught:
            live.wait_open()
        assert caught.value.close_code == 4001
    with client.live(["nonsense"]) as live, pytest.raises(CommandRefused):
        list(live)
    made = client.post("/api-keys", {"name": "brief", "role": "viewer"})
    with Client(web.url, api_key=made["key"]) as brief, brief.live(["system"]) as live:
        live.wait_open()
        client.delete(f"/api-keys/{made['id']}")
        with pytest.raises(LiveEnded) as revoked:
            live.next(20)
        assert revoked.value.close_code == 4001


def test_a_sign_in_follows_channels_too(web: Web, tell):
    with Client(web.url, email=EMAIL, password=PASSWORD) as client, client.live(["subscriptions"]) as live:
        live.wait_open()
        assert live._wire is not None
        live._expiring(live._wire, {})  # what the server's auth_expiring does
        tell(5)
        assert numbers(live, 1) == [5]


def test_a_sign_in_that_cannot_be_renewed_just_now_ends_nothing(web: Web, tell):
    given = web.call("POST", "/auth/login", json={"email": EMAIL, "password": PASSWORD, "transport": "body"})
    busy = answer(503, {"code": "unavailable"}, "Retry-After: 60")
    with (
        answering(answer(200, given.json), busy, busy, busy) as accounts,
        Client(accounts.url, email=EMAIL, password=PASSWORD, deadline_s=30) as client,
        Live(Place(web.url), client.credential, ["subscriptions"]) as live,
    ):
        live.wait_open()
        assert live._wire is not None
        live._expiring(live._wire, {})  # what the server's auth_expiring does
        assert len(accounts.requests) == 2
        tell(6)
        assert numbers(live, 1) == [6]
        # The server closes when the token ends: coming back asks for a new one then.
        pause, lost = Returning(client.credential).after(Closed(4001, "token_expired"), lasted_s=900)
        assert len(accounts.requests) == 3
        assert (pause, lost) == (60, False)


def test_how_long_connecting_and_a_round_trip_took_is_told(client: Client):
    with client.live(["system"]) as live:
        live.wait_open()
        assert (live.connect_s or 0) > 0
        until(lambda: live.round_trip_s is not None, what="a round trip")
        first = live.round_trip_s
        assert (first or 0) > 0
        cut(live)
        until(lambda: live.connections == 2)
        until(lambda: live.round_trip_s not in {None, first}, what="the round trip of the new connection")


def test_a_server_that_stands_still_is_waited_for(web: Web, client: Client, tell):
    with client.live(["subscriptions"]) as live:
        live.wait_open()
        os.kill(web.process.pid, signal.SIGSTOP)
        try:
            worker = _children(web)
            for pid in worker:
                os.kill(pid, signal.SIGSTOP)
            tell(1)
            assert live.next(1) is None
        finally:
            for pid in (*_children(web), web.process.pid):
                os.kill(pid, signal.SIGCONT)
        assert numbers(live, 1) == [1]


def _children(web: Web) -> list[int]:
    import psutil

    return [child.pid for child in psutil.Process(web.process.pid).children(recursive=True)]
