"""Free TCP ports on loopback."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterable


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server could listen there now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with contextlib.closing(socket.socket(family, socket.SOCK_STREAM)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def any_free(host: str = "127.0.0.1") -> int:
    """A port that the system says is free."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with contextlib.closing(socket.socket(family, socket.SOCK_STREAM)) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def choose(wanted: int | None, host: str = "127.0.0.1", *, avoid: Iterable[int] = ()) -> int:
    """`wanted` when it is free, else the next free one of the hundred above, else any."""
    taken = set(avoid)
    if wanted:
        for port in range(wanted, min(wanted + 100, 65_536)):
            if port not in taken and is_free(port, host):
                return port
    while (port := any_free(host)) in taken:
        taken.add(port)
    return port
