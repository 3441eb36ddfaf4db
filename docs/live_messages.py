"""The messages of `/ws`, from `web/live/messages.py`: TypeScript for the console, a page for people."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from typing import Any, Literal, NotRequired, get_args, get_origin, get_type_hints, is_typeddict

from web.live import messages
from web.live.frames import Close

_PLAIN = {str: "string", int: "number", float: "number", bool: "boolean", type(None): "null", Any: "unknown"}
_CLOSE = {
    Close.GOING_AWAY: "drain: reconnect after `reconnect_in_ms` and resume",
    Close.PROTOCOL: "a broken frame",
    Close.BINARY: "binary frames are not spoken",
    Close.BAD_UTF8: "text that is not UTF-8",
    Close.TOO_LARGE: "a message over 64 KiB",
    Close.INTERNAL: "a fault of the server: back off",
    Close.MALFORMED: "three malformed messages",
    Close.AUTH: "authentication failed, came late, expired, or was revoked: get a new token",
    Close.FORBIDDEN: "this origin may not, or forbidden: never retry",
    Close.DEAD: "no heartbeat, or too slow a reader: reconnect and resume",
    Close.STATE_LOST: "the state was lost: reconnect and refetch all",
    Close.THROTTLED: "too many connections or messages: wait half a minute",
}


def typescript() -> str:
    """`web/console/src/live/messages.gen.ts`."""
    parts = ["// Written by docs/generate.py from web/live/messages.py; change that instead.\n"]
    parts += [_interface(shape, shape.__name__, _fields(shape)) for shape in _nested()]
    for side, key, shapes in (("Server", "event", messages.SERVER), ("Client", "type", messages.CLIENT)):
        names = {word: f"{side}{shape.__name__.removeprefix(side)}" for word, shape in shapes.items()}
        parts += [
            _interface(shape, names[word], f'  {key}: "{word}";\n{_fields(shape)}')
            for word, shape in shapes.items()
        ]
        parts.append(f"export type {side}Message =\n" + "\n".join(f"  | {n}" for n in names.values()) + ";\n")
    return "\n".join(parts)


def _interface(shape: type, name: str, fields: str) -> str:
    return f"/** {shape.__doc__} */\nexport interface {name} {{\n{fields}}}\n"


def page() -> str:
    """`docs/reference/live.md`, without its note."""
    lines = []
    for title, key, shapes in (
        ("From the server", "event", messages.SERVER),
        ("From the client", "type", messages.CLIENT),
    ):
        lines.append(f"## {title}\n\n| `{key}` | fields | |\n|---|---|---|")
        for word, shape in shapes.items():
            fields = ", ".join(f"`{name}{'?' if optional else ''}`" for name, _, optional in _hints(shape))
            lines.append(f"| `{word}` | {fields} | {shape.__doc__} |")
        lines.append("")
    lines.append("## Close codes\n\n| code | what it says |\n|---|---|")
    lines += [f"| {int(code)} | {meaning} |" for code, meaning in _CLOSE.items()]
    return "\n".join(lines) + "\n"


def _nested() -> list[type]:
    return [messages.User, messages.Position, messages.FieldError]


def _fields(shape: type) -> str:
    return "".join(
        f"  {name}{'?' if optional else ''}: {_type(hint)};\n" for name, hint, optional in _hints(shape)
    )


def _hints(shape: type) -> Iterator[tuple[str, Any, bool]]:
    for name, hint in get_type_hints(shape, include_extras=True).items():
        optional = get_origin(hint) is NotRequired
        yield name, get_args(hint)[0] if optional else hint, optional


def _type(hint: Any) -> str:
    if hint in _PLAIN:
        return _PLAIN[hint]
    if is_typeddict(hint):
        return str(hint.__name__)
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return " | ".join(_type(each) for each in inner)
    if origin is Literal:
        return " | ".join("true" if each is True else f'"{each}"' for each in inner)
    if origin is list:
        return f"{_type(inner[0])}[]"
    if origin is dict:
        return f"Record<string, {_type(inner[1])}>"
    raise TypeError(f"no TypeScript for {hint!r}")
