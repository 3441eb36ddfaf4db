"""What one peer sends, as whole messages. Frames are parsed by wsproto and judged on their heads.

A frame that would make its message too long is refused before any of its content is taken; memory held for
a peer is bounded by the largest message. After a fault nothing more is parsed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Self

from wsproto.extensions import Extension
from wsproto.frame_protocol import (
    CloseReason,
    FrameDecoder,
    FrameProtocol,
    Opcode,
    ParseFailed,
    RsvBits,
)

from web.live.frames import Close

MAX_MESSAGE: Final = 65_536
# Empty fragments take no room in the message, but each of them takes time and a place in the list.
MOST_FRAGMENTS: Final = 4096
_NONE_RESERVED: Final = RsvBits(rsv1=False, rsv2=False, rsv3=False)
# RFC 6455, section 5.2: two bytes and a mask, and a longer length where these do not hold it.
_HEAD: Final = 6
_ONE_BYTE_LENGTH: Final = 125
_TWO_BYTE_LENGTH: Final = 65_535


@dataclass(frozen=True, slots=True)
class Ping:
    """The peer wants its payload back."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Goodbye:
    """The peer closes; 1005 stands for no code."""

    code: int


@dataclass(frozen=True, slots=True)
class Fault:
    """What came is not allowed; the connection is to end with this code."""

    code: int
    reason: str


class _Size(Extension):
    """Counts the bytes of the message in hand, and looks at each head before its content is taken."""

    name = "size"

    def __init__(self) -> None:
        self.taken = 0
        # Bytes on the wire that have not become whole frames, and whether a message is in fragments.
        self.unfinished = 0
        self.in_fragments = False
        self._content = 0

    def enabled(self) -> bool:
        """Always: the parser leaves out what is not enabled."""
        return True

    def offer(self) -> bool:
        """It is no extension of the protocol: peers never hear of it."""
        return False

    def frame_inbound_header(
        self, _proto: FrameDecoder | FrameProtocol, opcode: Opcode, _rsv: RsvBits, payload_length: int
    ) -> CloseReason | RsvBits:
        """Refuse what would grow too long. May be asked again for a head that arrives in pieces."""
        if not opcode.iscontrol() and self.taken + payload_length > MAX_MESSAGE:
            return CloseReason.MESSAGE_TOO_BIG
        self._content = payload_length
        return _NONE_RESERVED

    def frame_inbound_payload_data(self, proto: FrameDecoder | FrameProtocol, data: bytes) -> bytes:
        """Count content; control frames between fragments are none."""
        opcode = getattr(proto, "effective_opcode", None)
        if opcode is not None and not opcode.iscontrol():
            self.taken += len(data)
        return data

    def frame_inbound_complete(self, proto: FrameDecoder | FrameProtocol, fin: bool) -> None:
        """One more frame is whole."""
        length = self._content
        longer = 0 if length <= _ONE_BYTE_LENGTH else 2 if length <= _TWO_BYTE_LENGTH else 8
        self.unfinished -= _HEAD + longer + length
        opcode = getattr(proto, "effective_opcode", None)
        if opcode is None or not opcode.iscontrol():
            self.in_fragments = not fin


@dataclass(slots=True)
class _Parser:
    """What has to be remembered in the middle of a frame or of a message in fragments."""

    size: _Size
    protocol: FrameProtocol
    parts: list[str] = field(default_factory=list)
    fragments: int = 0

    @classmethod
    def fresh(cls) -> Self:
        size = _Size()
        return cls(size, FrameProtocol(client=False, extensions=[size]))


class Inbound:
    """The parser of one connection. Between messages it holds nothing: most connections only listen."""

    __slots__ = ("_parser",)

    def __init__(self) -> None:
        """Nothing has come yet."""
        self._parser: _Parser | None = None

    def feed(self, data: bytes) -> Iterator[str | Ping | Goodbye | Fault]:
        """What these bytes complete, in order. Nothing may be fed after a Goodbye or a Fault."""
        parser = self._parser = self._parser or _Parser.fresh()
        parser.size.unfinished += len(data)
        parser.protocol.receive_bytes(data)
        try:
            for frame in parser.protocol.received_frames():
                content: Any = frame.payload  # by opcode: str, bytes, or code and reason
                if frame.opcode is Opcode.TEXT:
                    yield from _text(parser, content, frame.frame_finished, frame.message_finished)
                elif frame.opcode is Opcode.PING:
                    yield Ping(content)
                elif frame.opcode is Opcode.CLOSE:
                    yield Goodbye(int(content[0]))
                elif frame.opcode is Opcode.BINARY:
                    yield Fault(Close.BINARY, "text frames only")
        except ParseFailed as error:
            too_large = error.code is CloseReason.MESSAGE_TOO_BIG
            yield Fault(int(error.code), "message over 64 KiB" if too_large else str(error))
        if not parser.size.unfinished and not parser.size.in_fragments:
            self._parser = None


def _text(parser: _Parser, part: str, frame_finished: bool, message_finished: bool) -> Iterator[str | Fault]:
    if part:
        parser.parts.append(part)
    parser.fragments += frame_finished
    if message_finished:
        whole = parser.parts[0] if len(parser.parts) == 1 else "".join(parser.parts)
        parser.parts.clear()
        parser.fragments = parser.size.taken = 0
        yield whole
    elif parser.fragments >= MOST_FRAGMENTS:
        yield Fault(Close.THROTTLED, "too many fragments")
