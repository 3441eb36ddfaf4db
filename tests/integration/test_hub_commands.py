"""Answers when something is in the way: too many messages, the live Valkey away, a fault of our own."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tenure.accounts.principal import Principal, Role
from tenure.kit.valkey import connect
from tests.support import hubs
from tests.support.hubs import Peer, Stage
from tests.support.rawsocket import CLOSE, TEXT, frame

if TYPE_CHECKING:
    from web.services import Services

NOBODY = "redis://127.0.0.1:1/0"


def say(peer: Peer, **document: Any) -> None:
    peer.send(frame(json.dumps(document)))


def ask(peer: Peer, **document: Any) -> Any:
    say(peer, rid="r", **document)
    while True:
        one = peer.arrives().json
        if one.get("rid") == "r":
            return one


def test_each_rid_is_answered_once_also_those_over_the_limit(stage: Stage):
    # Nothing is earned meanwhile, however long this takes.
    stage.hub.limits = stage.hub.limits.model_copy(update={"ws_messages_per_s": 1e-6})
    burst, over = stage.hub.limits.ws_burst, 2
    _, peer = stage.join()
    peer.send(b"".join(frame(json.dumps({"type": "pong", "rid": n})) for n in range(burst + over)))
    answers = [peer.arrives().json for _ in range(burst + over)]
    assert Counter(one["rid"] for one in answers) == Counter(range(burst + over))
    refused = [one for one in answers if one["event"] == "error"]
    assert len(refused) == over
    assert all(one["code"] == "throttled" and one["retry_after_ms"] >= 0 for one in refused)
    assert peer.quiet()


@pytest.fixture(params=["gevent", "threads"])
def without_valkey(
    request: pytest.FixtureRequest, web_services: Services, who: dict[Role, Principal]
) -> Iterator[Stage]:
    """A hub whose live Valkey is not there."""
    with connect(NOBODY, timeout_s=1) as nobody:
        made = dataclasses.replace(web_services, live=nobody)
        with hubs.staged(made, who, request.param) as stage:
            yield stage


def test_without_the_live_valkey_broad_channels_are_unavailable_and_objects_are_not(without_valkey: Stage):
    connection, peer = without_valkey.join()
    assert ask(peer, type="subscribe", channels=["subscription:sub_1"])["event"] == "ack"
    refused = ask(peer, type="subscribe", channels=["invoice:inv_1", "subscriptions"])
    assert (refused["event"], refused["code"]) == ("error", "unavailable")
    assert refused["retry_after_ms"] > 0
    assert connection.channels == {"subscription:sub_1"}, "all or nothing"
    assert set(without_valkey.hub.channels) == {"subscription:sub_1"}
    assert ask(peer, type="ping")["event"] == "ack", "it stays open"


@pytest.fixture(params=["gevent", "threads"])
def broken(
    request: pytest.FixtureRequest, web_services: Services, who: dict[Role, Principal]
) -> Iterator[Stage]:
    """A hub with a fault of ours: whatever needs Postgres fails as nobody foresaw."""
    made = dataclasses.replace(web_services, db=None)  # type: ignore[arg-type]
    with hubs.staged(made, who, request.param) as stage:
        yield stage


def test_a_fault_of_ours_ends_its_own_connection_with_1011(broken: Stage):
    _, peer = broken.join()
    _, other = broken.join()
    say(peer, type="subscribe", channels=["subscription:sub_1"], rid="r")
    *before, last = peer.until_closed()
    assert (last.opcode, last.code) == (CLOSE, 1011)
    assert [one for one in before if one.opcode == TEXT] == [], "no detail of it leaves"
    assert ask(other, type="ping")["event"] == "ack"
