"""One reader that stands still must not cost the others anything; it is cut, and may come back."""

from __future__ import annotations

import json

import pytest

from tenure.embedded.valkey import Valkey
from tenure.events import order
from tenure.events.append import NewEvent, append
from tenure.kit.valkey import connect
from tests.support.sockets import Client, client
from tests.support.web import Web

BLOB = "x" * 20_000


@pytest.fixture
def ring(valkey_server: Valkey):
    """Send frames to everybody on `system`, without history."""
    live = connect(valkey_server.url(6))

    def ring(number: int) -> None:
        event = {"id": f"evt_{number}", "seq": None, "type": "x", "ts": "", "data": {"n": number, "b": BLOB}}
        live.publish("tenure:live", json.dumps({"seq": 0, "event": event, "at": [["system", 0, ""]]}))

    yield ring
    live.close()


def was_cut(web: Web) -> bool:
    return any(line["event"] == "ws.slow_closed" for line in web.log())


def numbers(it: Client) -> list[int]:
    return [frame["data"]["n"] for frame in it.seen if frame["event"] == "event"]


def test_a_reader_that_stands_still_is_cut_and_the_others_get_everything(web: Web, ring):
    stalled = Client(web)
    stalled.send(type="auth", token=web.key("viewer"))
    stalled.until(event="authenticated")
    stalled.ask(type="subscribe", channels=["system"])
    try:
        with client(web, "viewer") as healthy:
            healthy.ask(type="subscribe", channels=["system"])
            sent = 0
            while not was_cut(web):
                assert sent < 2000, "far more than the kernel takes for a reader that reads nothing"
                for _ in range(20):
                    ring(sent)
                    sent += 1
                while healthy.until(event="event")["data"]["n"] < sent - 1:
                    pass
            assert stalled.close_code() == 4008
            for number in range(sent, sent + 20):
                ring(number)
            while healthy.until(event="event")["data"]["n"] < sent + 19:
                pass
            assert numbers(healthy) == list(range(sent + 20))
        assert numbers(stalled) == list(range(len(numbers(stalled)))), "what it did read is whole"
    finally:
        stalled.close()


def test_a_reader_that_pauses_briefly_loses_nothing(web: Web, ring):
    with client(web, "viewer") as it:
        it.ask(type="subscribe", channels=["system"])
        for number in range(10):
            ring(number)
        for number in range(10):
            assert it.until(event="event")["data"]["n"] == number


def test_a_long_history_of_an_object_comes_whole_in_one_connection(web: Web):
    subject, count = "subscription:sub_long", 4000
    with web.db.transaction() as session:
        told = ({"n": number, "b": "x" * 500} for number in range(count))
        append(session, [NewEvent("test.long", subject, (subject,), data) for data in told])
    with web.db.transaction() as session:
        while order.number_pending(session):
            pass
    with client(web, "viewer") as it:
        it.send(type="subscribe", channels=[subject], since={subject: {"offset": 0, "epoch": "pg"}}, rid="s")
        for number in range(count):
            assert it.until(event="event")["data"]["n"] == number
        assert it.until(event="recovered")["complete"] is True
