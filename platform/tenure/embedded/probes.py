"""Proofs that a role does its work: each asks the role itself, none believes a running process.

All answer within a few seconds and never raise for a role that is merely not there yet. The HTTP ones speak
to our own children on loopback, below and before everything that the network's door needs.
"""

from __future__ import annotations

import base64
import http.client
import socket
from collections.abc import Callable, Sequence
from typing import Final

import psycopg

_PATIENCE_S: Final = 3.0
_OK: Final = 200
# The lease row is written by the process itself once it takes work, and carries its pid.
_NODE: Final = b"""
    SELECT 1 FROM node
    WHERE coalesce(%s, role) = role AND coalesce(%s, split_part(name, '@', 1)) = split_part(name, '@', 1)
      AND host = %s AND pid = coalesce(%s, pid)
      AND stopped_at IS NULL AND lease_until > clock_timestamp()
"""


def http_answers(
    port: int,
    path: str,
    *,
    host: str = "127.0.0.1",
    login: tuple[str, str] | None = None,
    patience_s: float = _PATIENCE_S,
) -> Callable[[int], bool]:
    """GET answers 200."""
    headers = {}
    if login:
        headers["Authorization"] = "Basic " + base64.b64encode(":".join(login).encode()).decode()

    def probe(_pid: int) -> bool:
        connection = http.client.HTTPConnection(host, port, timeout=patience_s)
        try:
            connection.request("GET", path, headers=headers)
            return connection.getresponse().status == _OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    return probe


def node_is_leased(database_url: str, role: str) -> Callable[[int], bool]:
    """This very process holds a lease in the table of nodes."""

    def probe(pid: int) -> bool:
        return _has_lease(database_url, [role, None, socket.gethostname(), pid])

    return probe


def host_has_node(database_url: str, name: str, host: str) -> bool:
    """Some process on this host that was started under this name (`worker-payments`) holds a lease."""
    return _has_lease(database_url, [None, name, host, None])


def _has_lease(database_url: str, sought: Sequence[str | int | None]) -> bool:
    try:
        with psycopg.connect(database_url, connect_timeout=3, autocommit=True) as connection:
            return connection.execute(_NODE, sought).fetchone() is not None
    except psycopg.OperationalError:
        return False
