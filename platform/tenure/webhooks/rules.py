"""What an endpoint may be, and which of its patterns match a type. Pure."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Sequence
from typing import Final
from urllib.parse import SplitResult, urlsplit

from tenure.errors import FieldError
from tenure.kit.sockets import is_public

# Families of event types that are told to the outside, and those of which only one type is.
FAMILIES: Final = ("subscription", "invoice", "payment")
SINGLE: Final = ("entitlement.changed", "iteration.failed")
EVERYTHING: Final = "*"

_IN_FAMILY: Final = re.compile(rf"(?:{'|'.join(FAMILIES)})\.(?:\*|[a-z][a-z_]{{0,39}})")
_LONGEST_URL: Final = 2000
_MOST_TYPES: Final = 50
# What a private network's own names end in (RFC 6761, RFC 6762, and what ICANN keeps for them).
_PRIVATE_NAMES: Final = ("localhost", "local", "internal", "home.arpa")


def problems(url: str, types: Sequence[str], *, allow_private: bool) -> list[FieldError]:
    """Everything that is wrong with an endpoint, by the names of the API's fields."""
    wrong = url_problem(url, allow_private=allow_private)
    found = [FieldError("url", *wrong)] if wrong else []
    if not 0 < len(types) <= _MOST_TYPES:
        found.append(FieldError("types", "length", f"1 to {_MOST_TYPES} types"))
    if len(set(types)) != len(types):
        found.append(FieldError("types", "duplicate", "each type once"))
    known = ", ".join([*(f"{family}.*" for family in FAMILIES), *SINGLE, EVERYTHING])
    return found + [
        FieldError(f"types.{number}", "unknown_type", f"{name!r} is not a type; there are: {known}")
        for number, name in enumerate(types)
        if not is_known(name)
    ]


def is_known(name: str) -> bool:
    """Whether this is a type that is told, or a pattern of such types."""
    return name in SINGLE or name == EVERYTHING or _IN_FAMILY.fullmatch(name) is not None


def url_problem(url: str, *, allow_private: bool) -> tuple[str, str] | None:
    """The code and the text of what is wrong with a URL, as far as it can be seen without resolving it.

    Where the name leads is checked at each connection.
    """
    if len(url) > _LONGEST_URL or not url.isascii() or any(letter <= " " or letter == "\\" for letter in url):
        return "url", f"an http(s) URL of visible ASCII characters, at most {_LONGEST_URL}"
    parts = _parts(url)
    if parts is None:
        return "url", "a URL that starts with http:// or https:// and names a host, without a fragment"
    if parts.username is not None or parts.password is not None:
        return "credentials", "a password in the URL would be seen by everybody who may read endpoints"
    if allow_private:
        return None
    if parts.scheme != "https":
        return "scheme", "only https is allowed here"
    if _is_private(parts.hostname or ""):
        return "private_address", f"{parts.hostname} leads into a private network"
    return None


def _parts(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        well_formed = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        return None
    return parts if well_formed and not parts.fragment else None


def _is_private(host: str) -> bool:
    try:
        return not is_public(str(ipaddress.ip_address(host.partition("%")[0])))
    except ValueError:
        return _is_odd_ipv4(host) or _is_private_name(host.rstrip("."))


def _is_odd_ipv4(host: str) -> bool:
    # 2130706433, 0x7f.1 and 0177.0.0.1 are addresses to many resolvers; nobody writes a public one so.
    try:
        socket.inet_aton(host)
    except OSError:
        return False
    return True


def _is_private_name(host: str) -> bool:
    return "." not in host or any(host.endswith(f".{name}") for name in _PRIVATE_NAMES)
