"""What somebody tries who wants the gate to fall over: broken requests, slow ones, and refused headers."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from email.message import Message
from email.parser import BytesParser

import pytest

from tests.integration.test_web_input import assert_secure
from tests.support.waiting import until
from tests.support.web import Answer, Web

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
