"""Outgoing sockets with a total deadline, to addresses that were checked.

A read timeout is not a deadline: a server that drips one byte a second holds a caller as long as it likes.
Sockets made here ask, before each system call, how much of the whole call's time is left. They connect to
the very address that was checked, so a name that resolves differently a moment later changes nothing.
`kit.http` and the mail sender stand on this; nothing here opens while a transaction is open.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final

from tenure.errors import BrokenRule, Transient
from tenure.kit import clock
from tenure.kit.db import in_transaction

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

# Well-known prefix of RFC 6052: the last four bytes are an IPv4 address that a translator would reach.
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
# Everything public in IPv6 lies in here (RFC 4291); what is not assigned, deprecated or local does not.
_PUBLIC_V6: Final = (ipaddress.IPv6Network("2000::/3"), _NAT64)
# But for documentation (RFC 9637).
_NOT_PUBLIC_V6: Final = (ipaddress.IPv6Network("3fff::/20"),)


class Unsent(Transient):
    """Nothing was sent: the other side cannot have acted."""

    code = "unsent"

    def __init__(self, reason: str, message: str) -> None:
        """`reason` is one of `dns refused unreachable connect_timeout tls address deadline url`."""
        self.reason = reason
        super().__init__(message, reason=reason)


class AddressRefused(Unsent):
    """The host leads to an address inside the private network."""

    code = "address_refused"


@dataclass(frozen=True, slots=True)
class Bounds:
    """How long one call may take: for the connection, for each silence, and in total."""

    connect_s: float = 5.0
    read_s: float = 10.0
    total_s: float = 10.0


class Call:
    """One bounded conversation: its deadline, and whether a byte of ours left for the other side."""

    __slots__ = ("bounds", "deadline", "wrote")

    def __init__(self, bounds: Bounds) -> None:
        """The clock of the call starts now."""
        self.bounds = bounds
        self.deadline = clock.monotonic() + bounds.total_s
        self.wrote = False

    @property
    def is_over(self) -> bool:
        """Whether the deadline has passed."""
        return clock.monotonic() >= self.deadline

    def left_s(self, at_most: float) -> float:
        """Seconds for the next step. Raises TimeoutError once the deadline has passed."""
        left = self.deadline - clock.monotonic()
        if left <= 0:
            raise TimeoutError("the call's total time is used up")
        return min(left, at_most)


_current: ContextVar[Call | None] = ContextVar("bounded_call", default=None)


@contextmanager
def bounded(bounds: Bounds) -> Iterator[Call]:
    """Everything that sockets of this module do inside the block ends by the deadline.

    Raises BrokenRule while a transaction is open: locks must never wait for somebody else's network.
    """
    if in_transaction():
        raise BrokenRule("a network call inside an open transaction")
    call = Call(bounds)
    token = _current.set(call)
    try:
        yield call
    finally:
        _current.reset(token)


def current_call() -> Call:
    """The call of the enclosing `bounded` block."""
    call = _current.get()
    if call is None:
        raise BrokenRule("a socket is used outside of a bounded call")
    return call


class _Bounded:
    """What both socket classes do before they wait."""

    def _before_read(self) -> None:
        call = current_call()
        self.settimeout(call.left_s(call.bounds.read_s))  # type: ignore[attr-defined]

    def _before_write(self) -> None:
        call = current_call()
        self.settimeout(call.left_s(call.bounds.read_s))  # type: ignore[attr-defined]
        call.wrote = True


class BoundedSocket(_Bounded, socket.socket):
    """A plain socket that keeps to the current call's deadline."""

    def recv(self, *args: Any) -> bytes:
        self._before_read()
        return super().recv(*args)

    def recv_into(self, *args: Any) -> int:
        self._before_read()
        return super().recv_into(*args)

    def send(self, *args: Any, **named: Any) -> int:
        # gevent's own sendall calls this with a keyword.
        self._before_write()
        return super().send(*args, **named)

    def sendall(self, *args: Any) -> None:
        self._before_write()
        super().sendall(*args)


class _BoundedTLSSocket(_Bounded, ssl.SSLSocket):
    """The same under TLS; the handshake has run before and does not count as written."""

    def recv(self, *args: Any) -> bytes:
        self._before_read()
        return super().recv(*args)

    def recv_into(self, *args: Any) -> int:
        self._before_read()
        return super().recv_into(*args)

    def send(self, *args: Any, **named: Any) -> int:
        # gevent's own sendall calls this with a keyword.
        self._before_write()
        return super().send(*args, **named)


def tls_context(ca_file: str | None = None) -> ssl.SSLContext:
    """Certificates are verified, TLS 1.2 at least, and the sockets keep to the deadline."""
    context = ssl.create_default_context(cafile=ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.sslsocket_class = _BoundedTLSSocket
    return context


def is_public(text: str) -> bool:
    """Whether the address lies on the public internet, also when it is wrapped in an IPv6 form."""
    try:
        address: IPAddress = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return all(_is_public(one) for one in (address, *_wrapped(address)))


def _is_public(address: IPAddress) -> bool:
    if isinstance(address, ipaddress.IPv6Address) and (
        not any(address in network for network in _PUBLIC_V6)
        or any(address in network for network in _NOT_PUBLIC_V6)
    ):
        return False
    return address.is_global and not address.is_multicast


def _wrapped(address: IPAddress) -> list[IPAddress]:
    if isinstance(address, ipaddress.IPv4Address):
        return []
    inner: list[IPAddress] = []
    if address.ipv4_mapped:
        inner.append(address.ipv4_mapped)
    if address.sixtofour:
        inner.append(address.sixtofour)
    if address.teredo:
        inner += address.teredo
    if address in _NAT64:
        inner.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return inner


def connect(host: str, port: int, *, allow_private: bool) -> BoundedSocket:
    """A connected socket of the current call. Raises Unsent with the reason when there is none.

    The name is resolved once; if any of its addresses is private and that is not allowed, none is tried.
    (The resolver itself has no timeout but the system's own.)
    """
    call = current_call()
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise Unsent("dns", f"{host} cannot be resolved") from None
    if not allow_private:
        for *_, address in found:
            if not is_public(str(address[0])):
                raise AddressRefused("address", f"{host} leads to an address that is not public")
    failure = Unsent("dns", f"{host} has no address")
    for family, kind, protocol, _, address in found:
        reached = _reach(call, BoundedSocket(family, kind, protocol), address, f"{host}:{port}")
        if isinstance(reached, BoundedSocket):
            return reached
        failure = reached
    raise failure


def _reach(call: Call, candidate: BoundedSocket, address: Any, label: str) -> BoundedSocket | Unsent:
    reason = "unreachable"
    try:
        candidate.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        candidate.settimeout(call.left_s(call.bounds.connect_s))
        candidate.connect(address)
        candidate.settimeout(call.left_s(call.bounds.connect_s))  # what a TLS handshake may still take
    except TimeoutError:
        reason = "connect_timeout"
    except ConnectionRefusedError:
        reason = "refused"
    except OSError:
        reason = "unreachable"
    else:
        return candidate
    candidate.close()
    return Unsent(reason, f"{label} cannot be reached ({reason})")
