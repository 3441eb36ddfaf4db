"""Where a request comes from: client address, own origin, allowed origins, and the CSRF rule."""

from __future__ import annotations

import ipaddress
from typing import Final

from flask import Request

from tenure.errors import Forbidden
from tenure.settings import Settings

_SAME_SITE_FETCHES: Final = {"same-origin", "none"}


def _is_trusted(address: str, trusted: tuple[str, ...]) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
        return any(parsed in ipaddress.ip_network(entry, strict=False) for entry in trusted)
    except ValueError:
        return False


def client_address(request: Request, settings: Settings) -> str:
    """The client's address; forwarded ones are believed only from the configured proxies."""
    address = request.remote_addr or "unknown"
    hops = [hop.strip() for hop in request.headers.get("X-Forwarded-For", "").split(",") if hop.strip()]
    while hops and _is_trusted(address, settings.trusted_proxies):
        address = hops.pop()
    return address


def counted_as(address: str) -> str:
    """What limits count: the address, and of IPv6 the network that a single customer has (/64)."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, 64), strict=False))


def is_https(request: Request, settings: Settings) -> bool:
    """Whether the client speaks https to us or to a configured proxy."""
    if request.scheme == "https":
        return True
    return (
        _is_trusted(request.remote_addr or "", settings.trusted_proxies)
        and request.headers.get("X-Forwarded-Proto", "").lower() == "https"
    )


def own_origin(request: Request, settings: Settings) -> str:
    """The origin that the client used to reach us."""
    return f"{'https' if is_https(request, settings) else 'http'}://{request.host}"


def is_allowed_origin(origin: str, request: Request, settings: Settings) -> bool:
    """Whether a page of this origin may act here: exactly the configured ones, else only our own."""
    if settings.allowed_origins:
        return origin in settings.allowed_origins
    return origin == own_origin(request, settings)


def refuse_cross_site(request: Request, settings: Settings) -> None:
    """Raise Forbidden for a request that another site's page made a browser send.

    Browsers name the page's origin on every POST; programs without an origin are no browsers.
    """
    origin = request.headers.get("Origin")
    if origin is not None:
        if origin != own_origin(request, settings) and not is_allowed_origin(origin, request, settings):
            raise Forbidden("requests from other sites are refused", code="cross_site")
        return
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None and site not in _SAME_SITE_FETCHES:
        raise Forbidden("requests from other sites are refused", code="cross_site")
