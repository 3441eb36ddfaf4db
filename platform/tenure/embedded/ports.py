"""Free TCP ports on loopback, which no two processes that look here choose at once.

A server such as PostgreSQL is told its port and takes it seconds later, and it takes it again when it is
restarted. Until this process ends, a port that it chose is kept by a name: a socket in Linux's abstract
namespace (unix(7)), which only one process can have and the kernel takes back.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import socket
from typing import Final

from tenure.errors import Unavailable

_FIRST: Final = 20_000
_COUNT: Final = 12_000
_TRIES: Final = 200
_NEIGHBORS: Final = 100
_LAST: Final = 65_535
_BACKLOG: Final = 512
# More than one stack ever needs; a long-lived process gives back the oldest.
_MOST_KEPT: Final = 256
_kept: dict[int, int] = {}  # port -> the name's descriptor, which the process's end closes


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
    """A free port, kept for this process; raises Unavailable when there is none.

    It lies below the range from which the system takes the near ends of outgoing connections: a port of that
    range could be taken by somebody's connection between two starts of a server.
    """
    for _ in range(_TRIES):
        port = _FIRST + secrets.randbelow(_COUNT)
        if port not in _kept and is_free(port, host) and _keep(port):
            return port
    raise Unavailable(f"no free port found on {host}")


def choose(wanted: int | None, host: str = "127.0.0.1") -> int:
    """`wanted` when it is free, else any."""
    return wanted if wanted and is_free(wanted, host) and _keep(wanted) else any_free(host)


def _keep(port: int) -> bool:
    if port in _kept:
        return True
    name = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        name.bind(f"\0tenure-port-{port}")
    except OSError:
        name.close()
        return False
    _kept[port] = name.detach()
    if len(_kept) > _MOST_KEPT:
        os.close(_kept.pop(next(iter(_kept))))
    return True


def listen(wanted: int, host: str) -> socket.socket:
    """A socket that listens on `wanted`, or on the next free port of the hundred above.

    Who holds it owns the port: two stacks that start at once cannot choose the same one, and a process that
    inherits it may be restarted without anybody being refused.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for port in range(wanted, min(wanted + _NEIGHBORS, _LAST + 1)):
        candidate = socket.socket(family, socket.SOCK_STREAM)
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            candidate.bind((host, port))
            candidate.listen(_BACKLOG)
        except OSError as error:
            candidate.close()
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise Unavailable(f"cannot listen on {host}: {error.strerror}") from error
        else:
            return candidate
    raise Unavailable(f"no free port on {host} from {wanted} on")
