"""Signing in and out, sessions, and who I am."""

from __future__ import annotations

from typing import Any, Literal

from flask import Response, jsonify, request
from pydantic import Field

from tenure.accounts import passwords
from tenure.accounts.principal import Role
from tenure.accounts.refresh import REUSED, refresh
from tenure.accounts.sessions import end_session, sessions_of
from tenure.accounts.sign_in import SignedIn, sign_in
from tenure.accounts.sign_out import sign_out
from tenure.accounts.tokens import ACCESS_S
from tenure.errors import Unauthenticated
from web.auth import clear_cookie, cookie_token, set_cookie
from web.body import Body
from web.live.tickets import TICKET_S, make_ticket, tell_revoked
from web.offload import in_thread
from web.origin import client_address, counted_as, refuse_cross_site
from web.route import Call, Routes

routes = Routes("Accounts")


class Login(Body):
    """E-mail and password; `transport` body returns the refresh token instead of setting the cookie."""

    email: str = Field(min_length=1, max_length=254)
    password: str = Field(min_length=1, max_length=passwords.LONGEST)
    transport: Literal["cookie", "body"] = "cookie"


class Refresh(Body):
    """The refresh token, where no cookie holds it."""

    refresh_token: str | None = Field(default=None, max_length=300)


@routes.post("/auth/login", role=None, body=Login, transaction=False, summary="Sign in")
def login(call: Call, body: Login) -> Response:
    made = call.services
    refuse_cross_site(request, made.settings)
    address = client_address(request, made.settings)
    made.gate.check("login", made.settings.limits.login_per_min, counted_as(address))
    signed_in = sign_in(
        made.db,
        made.tokens,
        email=body.email,
        password=body.password,
        user_agent=request.headers.get("User-Agent"),
        address=address,
        device=_device(call),
        matches=lambda known, given: in_thread(passwords.matches, known, given),
        hashed_anew=lambda known, given: in_thread(passwords.hashed_anew, known, given),
    )
    return _signed_in(call, signed_in, in_body=body.transport == "body")


@routes.post("/auth/refresh", role=None, body=Refresh, transaction=False, summary="Next pair of tokens")
def refresh_tokens(call: Call, body: Refresh) -> Response:
    token = _presented(call, body)
    try:
        signed_in = refresh(call.services.db, call.services.tokens, token)
    except Unauthenticated as error:
        if error.instance_code == REUSED:
            # Somebody else holds a copy: what was opened with this session ends with it.
            tell_revoked(call.services, call.services.tokens.read_refresh(token)[0])
        raise
    return _signed_in(call, signed_in, in_body=body.refresh_token is not None)


@routes.post("/auth/logout", role=None, body=Refresh, transaction=False, status=204, summary="Sign out")
def logout(call: Call, body: Refresh) -> Response:
    token = _presented(call, body)
    session_id = sign_out(call.services.db, call.services.tokens, token)
    tell_revoked(call.services, session_id)
    answer = Response(status=204)
    clear_cookie(answer, request, call.services)
    return answer


@routes.get("/auth/sessions", summary="My open sessions")
def sessions(call: Call) -> dict[str, Any]:
    who = call.principal
    return {"items": sessions_of(call.session, who.id, current=who.session_id), "next_cursor": None}


@routes.delete("/auth/sessions/{id}", role=Role.VIEWER, summary="End one of my sessions")
def end(call: Call, id: str) -> None:  # noqa: A002 - the contract's name of the path's part
    end_session(call.session, id, user_id=call.principal.id)
    call.after_commit(lambda: tell_revoked(call.services, id))


@routes.get("/me", summary="Who I am")
def me(call: Call) -> dict[str, Any]:
    who = call.principal
    return {
        "id": who.id,
        "kind": who.kind,
        "email": who.label if who.kind == "user" else None,
        "name": who.label,
        "role": who.role.value,
    }


@routes.post("/ws-ticket", role=Role.VIEWER, transaction=False, summary="One-time ticket for the WebSocket")
def ws_ticket(call: Call) -> dict[str, Any]:
    return {"ticket": make_ticket(call.services, call.principal), "expires_in": TICKET_S}


def _device(call: Call) -> str | None:
    """The session that this browser holds a genuine cookie of, whatever has become of it."""
    token = cookie_token(request, call.services)
    try:
        return call.services.tokens.read_refresh(token)[0] if token is not None else None
    except Unauthenticated:
        return None


def _presented(call: Call, body: Refresh) -> str:
    if body.refresh_token is not None:
        return body.refresh_token
    refuse_cross_site(request, call.services.settings)
    token = cookie_token(request, call.services)
    if token is None:
        raise Unauthenticated("there is no session")
    return token


def _signed_in(call: Call, signed_in: SignedIn, *, in_body: bool) -> Response:
    shown: dict[str, Any] = {
        "access_token": signed_in.access_token,
        "token_type": "Bearer",
        "expires_in": ACCESS_S,
        "user": {"id": signed_in.user_id, "email": signed_in.email, "role": signed_in.role},
    }
    if in_body:
        shown["refresh_token"] = signed_in.refresh_token
    answer = jsonify(shown)
    if not in_body:
        set_cookie(answer, request, call.services, signed_in.refresh_token)
    return answer
