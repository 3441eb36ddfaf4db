"""Posts to webhook endpoints, over real HTTP."""

from __future__ import annotations

import pytest

from tenure.kit import clock, signing
from tenure.kit.http import Bounds, HttpDoor
from tenure.providers.notify.webhook import Delivery, post
from tests.support.rawserver import RawServer, raw_server


@pytest.fixture
def door():
    door = HttpDoor(allow_private=True)
    yield door
    door.close()


def status(code: int, *headers: str):
    def behave(server: RawServer, connection) -> None:
        while server.read_request(connection):
            head = "\r\n".join([f"HTTP/1.1 {code} X", "Content-Length: 2", *headers])
            connection.sendall(head.encode() + b"\r\n\r\n{}")

    return behave


def posted(door: HttpDoor, server: RawServer, *, within_s: float = 20) -> Delivery:
    return post(
        door,
        url=server.url + "/hook",
        secrets=["new", "old"],
        message_id="evt_1",
        body=b'{"a":1}',
        bounds=Bounds(total_s=within_s),
    )


@pytest.mark.parametrize("known", ["new", "old"])
def test_a_post_is_verified_by_the_holder_of_either_secret(door, known):
    with raw_server(status(204)) as server:
        assert posted(door, server) == Delivery(True, 204, "")
        head, _, body = server.requests[0].partition(b"\r\n\r\n")
    headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
    assert signing.verify([known], headers=headers, body=body, now=clock.unix_seconds()) == "evt_1"
    with pytest.raises(signing.BadSignature):
        signing.verify([known], headers=headers, body=body + b" ", now=clock.unix_seconds())


def test_refusals_tell_status_and_wish_and_a_gone_endpoint_says_so(door):
    with raw_server(status(503, "Retry-After: 3")) as server:
        assert posted(door, server) == Delivery(False, 503, "status 503: {}", 3)
    with raw_server(status(410)) as server:
        assert posted(door, server).gone


def test_silence_and_refused_connections_are_not_delivered(door):
    def mute(server: RawServer, _connection) -> None:
        server.closing.wait(60)

    with raw_server(mute) as server:
        assert posted(door, server, within_s=2) == Delivery(False, None, "timeout")
    assert posted(door, server) == Delivery(False, None, "refused")
