"""The Telegram adapter against the stand-in Bot API, over real HTTP."""

from __future__ import annotations

import time
from dataclasses import replace
from itertools import pairwise

import pytest
import redis

from tenure.kit.http import Bounds, HttpDoor
from tenure.kit.pace import Pace
from tenure.kit.valkey import connect
from tenure.notices.ports import Message, NotTried, Refused, Sent, Unknown, Unsent
from tenure.providers.notify.telegram import EACH_CHAT, TOTAL, TelegramSender
from tenure.standins.faults import Fault, FaultKind
from tenure.standins.telegram import TelegramStandIn
from tests.support.waiting import until

TOKEN = "123456:SECRET-TOKEN"
MESSAGE = Message("ntc_1", "period_ending", "d3", "42", "Your plan ends soon", "It ends in three days.")


@pytest.fixture
def standin():
    with TelegramStandIn(token=TOKEN) as standin:
        yield standin


@pytest.fixture
def door():
    door = HttpDoor(allow_private=True)
    yield door
    door.close()


@pytest.fixture
def sender(door, standin):
    return TelegramSender(door, token=TOKEN, api_url=standin.url)


def test_a_message_is_sent_once_and_its_number_is_kept(sender, standin, door):
    assert sender.send(MESSAGE) == Sent("1")
    (message,) = door.request("GET", standin.url + "/messages").json()["items"]
    assert (message["chat_id"], message["text"]) == ("42", "Your plan ends soon\n\nIt ends in three days.")


def test_throttling_is_unsent_with_the_time_the_api_names(sender, standin):
    standin.faults.plan(Fault(FaultKind.STATUS, status=429, retry_after_s=9))
    assert sender.send(MESSAGE) == Unsent("status 429", 9)
    assert standin.faults.hits == {"status": 1}
    assert standin.messages == []


def test_a_blocked_bot_is_refused_for_good(sender, standin, door):
    door.request("POST", standin.url + "/blocked", json={"chat_id": 42})
    assert sender.send(MESSAGE) == Refused("Forbidden: bot was blocked by the user", "blocked")
    assert sender.send(replace(MESSAGE, to="43")) == Sent("1")


def test_a_message_that_the_api_cannot_take_is_refused_for_good(sender):
    assert sender.send(replace(MESSAGE, to="")) == Refused("Bad Request: chat_id is empty", "bad_request")


def server_s(live: redis.Redis) -> float:
    """Valkey's clock, by which the pace is kept."""
    seconds, micros = live.time()
    return seconds + micros / 1e6


def reserved(live: redis.Redis, pace: Pace, chat: str) -> tuple[float, float, float]:
    """The moment of a place that was taken, at the earliest and at the latest, and when it was given out."""
    before = server_s(live)
    place = pace.reserve(chat, longest_s=60)
    after = server_s(live)
    assert place.taken
    return before + place.wait_s, after + place.wait_s, after


def test_a_chat_gets_one_message_a_second_and_all_together_thirty(live_url):
    live = connect(live_url)
    paces = [Pace(live, "bot", total=TOTAL, each=EACH_CHAT) for _ in range(2)]
    places = [reserved(live, paces[n % 2], "42") for n in range(20)]
    for (earliest, latest, _), (next_earliest, next_latest, asked) in pairwise(places):
        assert next_latest - earliest > 0.999, "two processes share the pace"
        assert next_earliest - max(latest, asked - 1) < 1.001, "and waste none of it"
    late = paces[0].reserve("42", longest_s=1.1)
    assert not late.taken
    assert late.wait_s > 1.1
    others = [reserved(live, paces[n % 2], f"chat {n}") for n in range(120)]
    assert others[-1][1] - others[0][0] > 2.999, "120 messages take three seconds after the first thirty"
    assert others[-1][0] - others[-1][2] < 3.7, "and no longer, with the 20 before them"
    live.close()


def test_a_message_that_must_wait_long_is_put_back_and_a_short_wait_is_waited(door, standin, live_url):
    live = connect(live_url)
    pace = Pace(live, "bot", total=TOTAL, each=EACH_CHAT)
    sender = TelegramSender(door, token=TOKEN, api_url=standin.url, pace=pace)
    began = time.monotonic()
    assert [sender.send(MESSAGE) for _ in range(2)] == [Sent("1"), Sent("2")]
    assert time.monotonic() - began > 0.5
    for _ in range(20):
        assert pace.reserve("42", longest_s=60).taken
    held = sender.send(MESSAGE)
    assert isinstance(held, NotTried)
    assert held.reason == "pace"
    assert len(standin.messages) == 2
    live.close()


def test_without_valkey_the_pace_is_not_kept_and_messages_go(door, standin):
    pace = Pace(connect("redis://127.0.0.1:1/0"), "bot", total=TOTAL, each=EACH_CHAT)
    assert TelegramSender(door, token=TOKEN, api_url=standin.url, pace=pace).send(MESSAGE) == Sent("1")


def test_a_long_text_is_cut_to_what_the_api_takes(sender, standin):
    assert sender.send(replace(MESSAGE, text="x" * 10_000)) == Sent("1")
    assert len(standin.messages[0]["text"]) == 4096


def test_server_errors_and_a_wrong_token_are_unsent(sender, standin, door):
    standin.faults.plan(Fault(FaultKind.STATUS, status=502))
    assert sender.send(MESSAGE) == Unsent("status 502")
    assert standin.faults.hits == {"status": 1}
    wrong = TelegramSender(door, token="1:WRONG", api_url=standin.url)
    assert wrong.send(MESSAGE) == Unsent("status 401")
    assert standin.messages == []


@pytest.mark.parametrize(
    ("fault", "reason", "arrived"),
    [
        (Fault(FaultKind.DELAY, delay_s=600), "timeout", None),
        (Fault(FaultKind.DROP), "cut", 0),
        (Fault(FaultKind.CUT), "cut", 1),
    ],
)
def test_no_answer_is_unknown_whether_or_not_it_arrived(door, standin, fault, reason, arrived):
    bounds = Bounds(total_s=2) if fault.kind is FaultKind.DELAY else Bounds()
    sender = TelegramSender(door, token=TOKEN, api_url=standin.url, bounds=bounds)
    standin.faults.plan(fault)
    assert sender.send(MESSAGE) == Unknown(reason)
    until(lambda: standin.faults.hits == {fault.kind: 1}, what="the call arrived")
    if arrived is not None:
        assert len(standin.messages) == arrived


def test_an_api_that_is_down_is_unsent(sender, standin):
    standin.stop()
    assert sender.send(MESSAGE) == Unsent("refused")


def test_the_token_is_in_no_outcome(sender, standin):
    outcomes = [sender.send(replace(MESSAGE, to=""))]
    standin.faults.plan(Fault(FaultKind.CUT))
    outcomes.append(sender.send(MESSAGE))
    standin.stop()
    outcomes.append(sender.send(MESSAGE))
    assert "SECRET" not in repr(outcomes)
