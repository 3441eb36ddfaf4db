"""The live layer under trouble: Valkey loses its memory, many join at once, one reader stands still."""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from tenure.client import Client, Event
from tenure.embedded import valkey as embedded_valkey
from tenure.kit.valkey import connect
from tests.support import worker
from tests.support.nodes import nodes
from tests.support.rawsocket import CLOSE, TEXT, RawSocket, frame
from tests.support.sizes import size, tell
from tests.support.stream import BROAD, OBJECT, Log, account, crowd, writing
from tests.support.waiting import until

BLOB = "x" * 5000


@pytest.mark.timeout(600)
def test_a_valkey_that_ended_and_came_back_empty_loses_nothing_in_silence(servers, tmp_path: Path):
    count = size("valkey_clients", 20)
    server = embedded_valkey.new_throw_away(tmp_path / "live")
    urls = {**servers, "live_url": server.url(0)}
    env = worker.environment(
        urls["database_url"], urls["broker_url"], tmp_path, TENURE_LIVE_URL=urls["live_url"]
    )
    alive = embedded_valkey.running(server, log=tmp_path / "live.log")
    alive.__enter__()
    try:
        with (
            worker.process(["tenure", "relay"], log=tmp_path / "relay.log", env=env),
            nodes(tmp_path, **urls) as deployed,
            crowd(deployed, deployed.web.key("viewer"), count) as everybody,
        ):
            with writing(urls["database_url"], per_second=10) as writer:
                writer.await_more(30)
                alive.__exit__(None, None, None)
                writer.await_more(20)
                assert not server.ready()
                alive = embedded_valkey.running(server, log=tmp_path / "live.log")
                alive.__enter__()
                with connect(server.url(0)) as empty:
                    assert empty.ping()
                writer.await_more(30)
            log = Log(Client(deployed.url, api_key=deployed.web.key("viewer")))
            gaps = [account(one, writer.written, log) for one in everybody.followers]
            assert min(gaps) >= 1, "the broad channel's memory is gone, and everybody is told"
    finally:
        alive.__exit__(None, None, None)
    tell(f"Valkey ended and came back empty, {count} clients, {writer.written} events: 0 lost in silence")


@pytest.mark.timeout(600)
def test_whoever_joins_while_events_pour_in_has_no_hole_at_the_seam(servers, relay, tmp_path: Path):
    count = size("joining", 40)
    with nodes(tmp_path, **servers) as deployed:
        client = Client(deployed.url, api_key=deployed.web.key("viewer"))
        lives = []
        with writing(servers["database_url"], per_second=200) as writer:
            for _ in range(count):
                live = client.live([BROAD, OBJECT])
                live.wait_open(60)
                lives.append((live, live.positions()))
            writer.await_more(50)
        starts = set()
        for live, began in lives:
            seen: dict[str, list[int]] = {BROAD: [], OBJECT: []}

            def arrived(live=live, seen=seen) -> bool:
                while (item := live.next(0)) is not None:
                    assert isinstance(item, Event), item
                    seen[item.channel].append(item.offset)
                return all(offsets[-1:] == [writer.written] for offsets in seen.values())

            until(arrived, 60, what="the last event arrived")
            for channel, offsets in seen.items():
                assert offsets == list(range(began[channel].offset + 1, writer.written + 1))
            starts.add(began[OBJECT].offset)
            live.close()
        assert len(starts) > count / 4, "they joined at different moments of the stream"
    tell(f"{count} joined during {writer.written} events: no hole, no repeat")


@pytest.mark.timeout(600)
def test_one_reader_that_stands_still_costs_fifty_others_nothing(servers, tmp_path: Path):
    readers, events = size("readers", 50), size("events", 400)
    with nodes(tmp_path, **servers) as deployed, connect(servers["live_url"]) as live:
        (node,) = deployed.running
        key = deployed.web.key("viewer")
        stalled = joined(node.port, key, small_buffer=True)
        healthy = [joined(node.port, key) for _ in range(readers)]
        seen: list[list[int]] = [[] for _ in healthy]
        threads = [threading.Thread(target=take, args=pair) for pair in zip(healthy, seen, strict=True)]
        try:
            for thread in threads:
                thread.start()
            for number in range(events):
                event = {"id": f"evt_{number}", "seq": None, "type": "x", "ts": "", "data": [number, BLOB]}
                live.publish("tenure:live", json.dumps({"seq": 0, "event": event, "at": [["system", 0, ""]]}))
                if number % 20 == 19:
                    until(lambda number=number: all(len(one) > number for one in seen), 60)  # type: ignore[misc]
            assert seen == [list(range(events))] * readers
            until(lambda: node.lines("ws.slow_closed"), what="the one that stood still was cut")
            found = stalled.until_closed()
            assert (found[-1].opcode, found[-1].code) == (CLOSE, 4008)
        finally:
            for it in (stalled, *healthy):
                it.sock.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join(10)
            for it in (stalled, *healthy):
                it.close()
    tell(f"1 stalled among {readers + 1}: {readers * events} of {readers * events} events to the others")


def joined(port: int, key: str, *, small_buffer: bool = False) -> RawSocket:
    """A connection that follows `system`."""
    it = RawSocket(port)
    if small_buffer:
        it.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    assert it.ask()[0] == 101
    for given in ({"type": "auth", "token": key}, {"type": "subscribe", "channels": ["system"], "rid": "s"}):
        it.send(frame(json.dumps(given)))
    while True:
        one = it.frame()
        assert one is not None
        if one.json.get("rid") == "s":
            return it


def take(it: RawSocket, seen: list[int]) -> None:
    """Read until the end."""
    it.sock.settimeout(60)
    while (one := it.frame()) is not None:
        if one.opcode == TEXT:
            document: dict[str, Any] = one.json
            seen.append(document["data"][0])
