"""Which parts of a URL are secrets, and how a URL is shown without them.

Hosts of RPC nodes put their customers' keys into the path or the query; other URLs carry passwords.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

# A shorter part is a name ("v3", "mainnet"), a longer one may well be a key.
_SHORTEST_IN_PATH: Final = 16
_SHORTEST_IN_QUERY: Final = 8


def secrets_in(url: str) -> list[str]:
    """What must not be seen of this URL: its password, and whatever looks like a key."""
    try:
        parts = urlsplit(url)
        password = parts.password
    except ValueError:
        return [url]
    found = [password, unquote(password)] if password else []
    found += [part for part in parts.path.split("/") if len(part) >= _SHORTEST_IN_PATH]
    found += [value for _, value in parse_qsl(parts.query) if len(value) >= _SHORTEST_IN_QUERY]
    return found


def without_secrets(url: str) -> str:
    """The URL with its secrets as `***`."""
    for secret in sorted(secrets_in(url), key=len, reverse=True):
        url = url.replace(secret, "***")
    return url
