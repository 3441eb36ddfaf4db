"""Who asks: bearer tokens everywhere; the session cookie only where a browser can send nothing else."""

from __future__ import annotations

from typing import Final

from flask import Request, Response

from tenure.accounts.authenticate import authenticate, authenticate_cookie
from tenure.accounts.principal import Principal
from tenure.accounts.sign_in import SESSION_DAYS
from tenure.errors import Unauthenticated
from web.origin import client_address, is_https
from web.services import Services

COOKIE: Final = "tenure_session"
SECURE_COOKIE: Final = "__Host-tenure_session"


def bearer(request: Request) -> str | None:
    """The credential of the Authorization header, if it has one."""
    scheme, _, credential = request.headers.get("Authorization", "").partition(" ")
    return credential.strip() if scheme.lower() == "bearer" and credential.strip() else None


def principal_of(request: Request, made: Services) -> Principal:
    """The principal of the header, never of a cookie. Raises Unauthenticated, TooManyRequests."""
    credential = bearer(request)
    if credential is None:
        raise Unauthenticated
    with made.gate.refusals_counted(client_address(request, made.settings)):
        return authenticate(made.db, made.tokens, credential)


def cookie_token(request: Request, made: Services) -> str | None:
    """The refresh token of the session cookie. Over https only the `__Host-` cookie counts."""
    return request.cookies.get(SECURE_COOKIE if is_https(request, made.settings) else COOKIE)


def principal_of_browser(request: Request, made: Services) -> Principal:
    """The principal of the header, or else of the session cookie. Raises Unauthenticated.

    Only for GET under `/flower/` and the WebSocket handshake.
    """
    if bearer(request) is not None:
        return principal_of(request, made)
    token = cookie_token(request, made)
    if token is None:
        raise Unauthenticated
    return authenticate_cookie(made.db, made.tokens, token)


def set_cookie(response: Response, request: Request, made: Services, refresh_token: str) -> None:
    """Give the browser its session."""
    secure = is_https(request, made.settings)
    response.set_cookie(
        SECURE_COOKIE if secure else COOKIE,
        refresh_token,
        max_age=SESSION_DAYS * 86_400,
        path="/",
        secure=secure,
        httponly=True,
        samesite="Strict",
    )


def clear_cookie(response: Response, request: Request, made: Services) -> None:
    """Take the session away from the browser."""
    secure = is_https(request, made.settings)
    name = SECURE_COOKIE if secure else COOKIE
    response.delete_cookie(name, path="/", secure=secure, httponly=True, samesite="Strict")
