"""RFC 6455, sections 4 to 8, byte by byte: what is legal is understood, what is not ends with its code."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from tests.support.rawsocket import (
    BINARY,
    CLOSE,
    CONTINUATION,
    HANDSHAKE,
    PING,
    PONG,
    TEXT,
    Frame,
    RawSocket,
    close_frame,
    fragments,
    frame,
    opened,
    ping,
)
from tests.support.web import Web

LARGEST = 65_536
SPLIT = '{"type":"ping","id":"aé€𝄞z"}'.encode()


@dataclass(frozen=True)
class Case:
    """What a client sends, and what it gets: `answers` in this order, then perhaps a close code."""

    name: str
    sent: list[bytes]
    answers: list[object] = field(default_factory=list)
    code: int | None = None
    one_write: bool = False

    def __str__(self) -> str:
        return self.name


def padded(size: int) -> str:
    """A message of exactly this size, with the id `size`."""
    return ping(size, size - len(ping(size)))


def cut(data: bytes, *places: int) -> list[bytes]:
    """The bytes in pieces, cut at these places."""
    return [data[start:end] for start, end in zip((0, *places), (*places, None), strict=True)]


def by_byte(data: bytes) -> list[bytes]:
    return [bytes([byte]) for byte in data]


UNDERSTOOD = [
    Case("a text in one frame", [frame(ping(1))], [1]),
    *[
        Case(f"a text of {size} bytes", [frame(padded(size))], [size])
        for size in (125, 126, 127, 65_535, LARGEST)
    ],
    Case("a mask of zeros", [frame(ping(1), mask=bytes(4))], [1]),
    Case("each byte by itself", by_byte(frame(ping(1))), [1]),
    Case("each byte of a frame with a 16 bit length by itself", by_byte(frame(padded(300))), [300]),
    Case("each byte of a ping by itself", by_byte(frame(b"hey", PING)), [b"hey"]),
    Case("a head cut in each of its parts", cut(frame(padded(300)), 1, 3, 5, 7, 9), [300]),
    Case("a 64 bit length cut in its middle", cut(frame(padded(LARGEST)), 5, 11), [LARGEST]),
    Case("twenty frames in one packet", [frame(ping(n)) for n in range(20)], list(range(20)), one_write=True),
    Case("two fragments", fragments(ping(1)[:5], ping(1)[5:]), [1]),
    Case("a fragment for each letter", fragments(*ping(1)), [1]),
    Case("empty fragments first, between and last", fragments("", ping(1)[:5], "", ping(1)[5:], ""), [1]),
    Case("64 KiB in fragments", fragments(*[padded(LARGEST)[n : n + 4096] for n in range(0, LARGEST, 4096)]),
         [LARGEST]),
    Case("a ping between fragments is answered at once",
         [(parts := fragments(ping(1)[:5], ping(1)[5:]))[0], frame(b"now", PING), parts[1]], [b"now", 1]),
    Case("a pong between fragments", [parts[0], frame(b"", PONG), parts[1]], [1]),
    Case("pings and pongs between all fragments in one packet",
         [parts[0], frame(b"a", PING), frame(b"b", PONG), frame(b"c", PING), parts[1], frame(ping(2))],
         [b"a", b"c", 1, 2], one_write=True),
    Case("two messages in fragments", [*parts, *fragments(ping(2)[:3], ping(2)[3:])], [1, 2]),
    Case("a ping without payload", [frame(b"", PING)], [b""]),
    Case("a ping of 125 bytes that are no text", [frame(b"\xff\xfe" + b"\x00" * 123, PING)],
         [b"\xff\xfe" + b"\x00" * 123]),
    Case("ten pings in one packet", [frame(b"%d" % n, PING) for n in range(10)],
         [b"%d" % n for n in range(10)], one_write=True),
    Case("pongs that nobody asked for", [frame(b"?", PONG), frame(b"", PONG), frame(ping(1))], [1]),
    Case("letters of two, three and four bytes", [frame(SPLIT)], ["aé€𝄞z"]),
    Case("letters cut in their middle by fragments", fragments(*by_byte(SPLIT)), ["aé€𝄞z"]),
    Case("letters cut in their middle by packets", by_byte(frame(SPLIT)), ["aé€𝄞z"]),
    Case("a ping in the middle of a letter",
         [(halves := fragments(SPLIT[:21], SPLIT[21:]))[0], frame(b"x", PING), halves[1]], [b"x", "aé€𝄞z"]),
    Case("code points that are no characters", [frame('{"type":"ping","id":"\ufffe\uffff\U0010ffff"}')],
         ["\ufffe\uffff\U0010ffff"]),
    Case("NUL and controls as escapes", [frame('{"type":"ping","id":"\\u0001"}')], ["\x01"]),
]  # fmt: skip

REFUSED = [
    *[Case(f"reserved bit {bit} on a text", [frame(ping(1), rsv=bit)], code=1002) for bit in (1, 2, 4, 7)],
    Case("a reserved bit on a ping", [frame(b"", PING, rsv=4)], code=1002),
    Case("a reserved bit on a close", [frame(b"", CLOSE, rsv=2)], code=1002),
    Case("a reserved bit on a continuation", [parts[0], frame(b"x", CONTINUATION, rsv=1)], code=1002),
    *[
        Case(f"the reserved opcode {opcode}", [frame(b"", opcode)], code=1002)
        for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)
    ],
    Case("a reserved opcode between fragments", [parts[0], frame(b"", 3), parts[1]], code=1002),
    Case("a text without a mask", [frame(ping(1), mask=None)], code=1002),
    Case("a ping without a mask", [frame(b"", PING, mask=None)], code=1002),
    Case("a close without a mask", [frame(b"\x03\xe8", CLOSE, mask=None)], code=1002),
    Case("a continuation without a mask", [parts[0], frame(b"x", CONTINUATION, mask=None)], code=1002),
    Case("a length of 5 written in 16 bits", [frame(b"12345", form="16")], code=1002),
    Case("a length of 125 written in 64 bits", [frame(padded(125), form="64")], code=1002),
    Case("a length of 300 written in 64 bits", [frame(padded(300), form="64")], code=1002),
    Case("a length with its highest bit set", [frame(b"", size=2**63)], code=1002),
    Case("2^62 bytes announced, none sent", [frame(b"", size=2**62)], code=1009),
    Case("one byte over 64 KiB announced, none sent", [frame(b"", size=LARGEST + 1)], code=1009),
    Case("one byte over 64 KiB sent", [frame("x" * (LARGEST + 1))], code=1009),
    Case("a second fragment announced that passes 64 KiB",
         [frame("x" * LARGEST, fin=False), frame(b"", CONTINUATION, size=1)], code=1009),
    Case("fragments that pass 64 KiB after many",
         [frame("x" * 4096, fin=False), *[frame("x" * 4096, CONTINUATION, fin=False)] * 16], code=1009),
    Case("fragments without end and without content",
         [frame(b"", fin=False), *[frame(b"", CONTINUATION, fin=False)] * 5000], code=4029),
    Case("a megabyte after a head that was refused", [frame(b"", size=2**40), b"x" * 1_000_000], code=1009),
    Case("a ping of 126 bytes", [frame(b"x" * 126, PING)], code=1002),
    Case("a pong of 126 bytes", [frame(b"x" * 126, PONG)], code=1002),
    Case("a ping of 2^62 bytes", [frame(b"", PING, size=2**62)], code=1002),
    Case("a ping in fragments", [frame(b"", PING, fin=False)], code=1002),
    Case("a close in fragments", [frame(b"\x03\xe8", CLOSE, fin=False)], code=1002),
    Case("a continuation of nothing", [frame(b"x", CONTINUATION)], code=1002),
    Case("a continuation of nothing, not final", [frame(b"x", CONTINUATION, fin=False)], code=1002),
    Case("a continuation after a whole message", [frame(ping(1)), frame(b"x", CONTINUATION)], [1], code=1002),
    Case("a new text between fragments", [parts[0], frame(ping(1))], code=1002),
    Case("a binary between fragments", [parts[0], frame(b"x", BINARY)], code=1002),
    Case("a binary message", [frame(b"\x00\x01", BINARY)], code=1003),
    Case("an empty binary message", [frame(b"", BINARY)], code=1003),
    Case("a binary message in fragments", fragments(b"\x00", b"\x01", opcode=BINARY), code=1003),
    Case("bytes that are no UTF-8", [frame(b"\xff\xfe")], code=1007),
    Case("a lone continuation byte", [frame(b"{\x80}")], code=1007),
    Case("an overlong slash", [frame(b"\xc0\xaf")], code=1007),
    Case("half of a surrogate pair", [frame(b"\xed\xa0\x80")], code=1007),
    Case("a code point above the last", [frame(b"\xf4\x90\x80\x80")], code=1007),
    Case("a text that ends within a letter", [frame("€".encode()[:2])], code=1007),
    Case("fragments that end within a letter", fragments("€".encode()[:1], "€".encode()[1:2]), code=1007),
    Case("a bad byte in the second fragment", fragments(b'"a', b"\xff", b'"'), code=1007),
    Case("a bad byte at the beginning of a message that has not arrived",
         [frame(b"\xff", size=60_000)], code=1007),
    Case("a bad byte in a fragment, before the last one is sent", [frame(b"a\xffb", fin=False)], code=1007),
    Case("a good text before a bad one in one packet", [frame(ping(1)), frame(b"\xff")], [1], code=1007,
         one_write=True),
    Case("a flood of pings", [frame(b"", PING)] * 5000, code=4029),
]  # fmt: skip

GOODBYES = [
    Case("without a code", [close_frame()], code=None),
    *[
        Case(f"with {code}", [close_frame(code)], code=code)
        for code in (
            *(1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013),
            *(3000, 3999, 4000, 4001, 4999),
        )
    ],
    *[
        Case(f"with the code {code}, which nobody may send", [close_frame(code)], code=1002)
        for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535)
    ],
    Case("with a reason", [close_frame(1000, "bis bald €".encode())], code=1000),
    Case("with the longest reason", [close_frame(1000, b"x" * 123)], code=1000),
    Case("with a reason that is too long", [close_frame(1000, b"x" * 124)], code=1002),
    Case("with a reason that is no UTF-8", [close_frame(1000, b"\xff\xfe")], code=1007),
    Case("with one byte", [frame(b"\x03", CLOSE)], code=1002),
    Case("with a text behind it", [close_frame(1000), frame(ping(1))], code=1000),
    Case("with a ping behind it", [close_frame(1000), frame(b"", PING)], code=1000),
    Case("with a second goodbye behind it", [close_frame(1000), close_frame(1001)], code=1000),
    Case("with rubbish behind it", [close_frame(1000), b"\xff" * 1000], code=1000),
    Case("in the middle of a message", [parts[0], close_frame(1000)], code=1000),
    Case("behind a message in one packet", [frame(ping(1)), close_frame(1000)], code=1000, one_write=True),
    Case("behind a ping in one packet", [frame(b"x", PING), close_frame(1000)], [b"x"], code=1000,
         one_write=True),
    Case("byte by byte", by_byte(close_frame(1000, b"slow")), code=1000),
]  # fmt: skip


@pytest.fixture(autouse=True)
def nothing_failed(web: Web) -> Iterator[None]:
    """After each case somebody else is served, and no fault of ours stands in the log."""
    yield
    with opened(web.port) as it:
        it.send(frame(ping("after")))
        assert shown(it.frame()) == "after"
    assert [line for line in web.log() if line["event"] in {"ws.failed", "http.failed"}] == []


def shown(one: Frame | None) -> object:
    """The id of a `pong` message, the payload of a protocol pong, else the frame."""
    if one is not None and one.opcode == PONG:
        return one.payload
    if one is not None and one.opcode == TEXT and one.json["event"] == "pong":
        return one.json["id"]
    return one


def say(it: RawSocket, case: Case) -> None:
    for piece in [b"".join(case.sent)] if case.one_write else case.sent:
        it.send(piece)


@pytest.mark.parametrize("case", UNDERSTOOD, ids=str)
def test_what_is_legal_is_understood(web: Web, case: Case):
    with opened(web.port) as it:
        say(it, case)
        assert [shown(it.frame()) for _ in case.answers] == case.answers
        it.send(frame(ping("still here")))
        assert shown(it.frame()) == "still here"


@pytest.mark.parametrize("case", REFUSED, ids=str)
def test_what_is_not_legal_ends_with_its_code(web: Web, case: Case):
    with opened(web.port) as it:
        say(it, case)
        *before, last = it.until_closed()
        if case.code != 4029:  # what a flood gets before its end is a matter of pace
            # A connection that fails owes no answers: those it gave are right.
            assert [shown(one) for one in before] in (case.answers, [])
        assert (last.opcode, last.code) == (CLOSE, case.code)
        last.payload[2:].decode()
        assert it.is_ended()


@pytest.mark.parametrize("case", GOODBYES, ids=str)
def test_a_goodbye_is_answered_and_is_the_last_word(web: Web, case: Case):
    with opened(web.port) as it:
        say(it, case)
        *before, last = it.until_closed()
        assert [shown(one) for one in before if one.opcode == PONG] == case.answers
        assert (last.opcode, last.code) == (CLOSE, case.code)
        assert it.is_ended(), "the server ends the connection"


def test_an_empty_text_is_a_malformed_message_and_not_the_end(web: Web):
    with opened(web.port) as it:
        for piece in (frame(b""), *fragments("", "", "")):
            it.send(piece)
        for _ in range(2):
            answer = it.frame()
            assert answer is not None
            assert (answer.json["event"], answer.json["code"]) == ("error", "malformed")


def test_a_client_that_never_answers_our_goodbye_is_let_go(web: Web):
    with opened(web.port) as it:
        it.send(frame('{"type":"auth","token":"wrong"}'))
        assert it.until_closed()[-1].code == 4001
        assert it.is_ended()


def test_a_client_that_answers_our_goodbye_gets_no_second_one(web: Web):
    with opened(web.port) as it:
        it.send(frame('{"type":"auth","token":"wrong"}'))
        assert it.until_closed()[-1].code == 4001
        it.send(close_frame(4001))
        assert it.is_ended()


def test_a_client_that_hangs_up_without_a_word_is_forgotten(web: Web):
    for sent in (b"", frame(ping(1))[:3], frame("x" * 100, fin=False), frame(b"", size=60_000)):
        with opened(web.port) as it:
            it.send(sent)


# -- the handshake ----------------------------------------------------------------------------------------


@pytest.fixture
def raw(web: Web) -> Iterator[RawSocket]:
    made = RawSocket(web.port)
    yield made
    made.close()


def test_the_handshake_is_answered_with_the_digest_of_the_key(raw: RawSocket):
    status, headers = raw.ask()
    key = HANDSHAKE["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    assert status == 101
    assert headers["sec-websocket-accept"] == base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
    assert (headers["upgrade"].lower(), headers["connection"].lower()) == ("websocket", "upgrade")
    assert "sec-websocket-protocol" not in headers


@pytest.mark.parametrize("header", ["Sec-WebSocket-Key", "Sec-WebSocket-Version", "Upgrade", "Connection"])
def test_a_handshake_without_one_of_its_headers_is_a_bad_request(raw: RawSocket, header):
    status, headers = raw.ask(without=[header])
    assert status == 400
    assert headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("key", ["", "short", "not base64 at all!!!!!!!", "A" * 24, "QUJD", "A" * 22])
def test_a_key_that_is_not_16_bytes_is_a_bad_request(raw: RawSocket, key):
    assert raw.ask(Sec_WebSocket_Key=key)[0] == 400


@pytest.mark.parametrize("version", ["12", "8", "0", "14", "thirteen"])
def test_another_version_is_told_which_one_is_spoken(raw: RawSocket, version):
    status, headers = raw.ask(Sec_WebSocket_Version=version)
    assert status == 426
    assert headers["sec-websocket-version"] == "13"
    assert headers["upgrade"] == "websocket"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_another_method_is_not_allowed(raw: RawSocket, method):
    status, headers = raw.ask(method)
    assert status == 405
    assert "GET" in headers["allow"]


def test_http_1_0_cannot_upgrade(raw: RawSocket):
    assert raw.ask(version="HTTP/1.0")[0] == 400


def test_names_of_headers_and_tokens_may_be_written_in_any_case(raw: RawSocket):
    status, _ = raw.ask(
        without=["Upgrade", "Connection"], UPGRADE="WebSocket", CONNECTION="keep-alive, UPGRADE"
    )
    assert status == 101


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [("tenure.v1", "tenure.v1"), ("chat, tenure.v1", "tenure.v1"), ("chat", None), ("tenure.v2, chat", None)],
)
def test_only_our_own_subprotocol_is_chosen(raw: RawSocket, offered, chosen):
    status, headers = raw.ask(Sec_WebSocket_Protocol=offered)
    assert status == 101
    assert headers.get("sec-websocket-protocol") == chosen


@pytest.mark.parametrize(
    "offered",
    ["permessage-deflate", "permessage-deflate; client_max_window_bits", "x-unknown, permessage-deflate"],
)
def test_extensions_are_declined(raw: RawSocket, offered):
    status, headers = raw.ask(Sec_WebSocket_Extensions=offered)
    assert status == 101
    assert "sec-websocket-extensions" not in headers


def test_a_bad_origin_is_let_in_and_closed_with_4003_before_any_data(raw: RawSocket):
    status, _ = raw.ask(Origin="https://evil.example")
    assert status == 101
    (only,) = raw.until_closed()
    assert (only.opcode, only.code) == (CLOSE, 4003)
    assert raw.is_ended()
