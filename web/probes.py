"""`/livez` (this process answers), `/readyz` (the install can serve, part by part), `/metrics`."""

from __future__ import annotations

import ipaddress
from typing import Final
from urllib.parse import urlsplit

import redis
from flask import Flask, Response, jsonify, request
from sqlalchemy import text

from tenure.errors import TenureError
from tenure.exporter.render import CONTENT_TYPE, render
from tenure.kit.logging import get_logger
from web.auth import principal_of
from web.services import Services

log = get_logger(__name__)
_ROLES: Final = ("worker", "beat", "relay")
_NODES: Final = text("""
    SELECT role FROM node WHERE stopped_at IS NULL AND lease_until > clock_timestamp() GROUP BY role
""")
# A part that failed lately and has not worked since; alerts are opened and resolved from the record.
_TROUBLED: Final = text("SELECT rule, subject FROM alert WHERE resolved_at IS NULL")
_BLOCKING: Final = ("database",)


def install(app: Flask, made: Services) -> None:
    """Add the probes."""
    app.add_url_rule("/livez", "livez", lambda: jsonify(status="ok"))
    app.add_url_rule("/readyz", "readyz", lambda: ready(made))
    app.add_url_rule("/metrics", "metrics", lambda: metrics(made))


def ready(made: Services) -> Response:
    """200 `ok` or `degraded`, 503 `down` (also while this process drains)."""
    parts = parts_of(made)
    if made.draining or any(parts[part] == "down" for part in _BLOCKING):
        status = "down"
    elif any(state in {"degraded", "down"} for state in parts.values()):
        status = "degraded"
    else:
        status = "ok"
    answer = jsonify(status=status, draining=made.draining, parts=parts)
    answer.status_code = 503 if status == "down" else 200
    if status == "down":
        answer.headers["Retry-After"] = "2"
    return answer


def parts_of(made: Services) -> dict[str, str]:
    """The state of every part: ok, off (not configured), degraded, or down."""
    parts = {"database": "ok", "broker": _answers(made.broker), "live": _answers(made.live)}
    alive: set[str] = set()
    troubled: set[str] = set()
    try:
        with made.db.transaction() as session:
            alive = set(session.execute(_NODES).scalars())
            troubled = {f"{row.rule} {row.subject}" for row in session.execute(_TROUBLED)}
    except TenureError:
        parts["database"] = "down"
    for role in _ROLES:
        parts[role] = "ok" if role in alive else "down"
    parts.update(_outside(made, troubled))
    return parts


def _outside(made: Services, troubled: set[str]) -> dict[str, str]:
    settings = made.settings
    configured: dict[str, object] = {
        "provisioner": settings.provisioner_url,
        "mail": settings.smtp_url,
        "telegram": settings.telegram_token,
        **{f"chain:{chain.name}": chain for chain in settings.chains},
        **{f"provider:{provider.name}": provider for provider in settings.payment_providers},
    }
    return {
        name: "off" if given is None else ("degraded" if any(name in what for what in troubled) else "ok")
        for name, given in configured.items()
    }


def _answers(client: redis.Redis) -> str:
    try:
        client.ping()
    except redis.RedisError as error:
        log.warning("probe.valkey_does_not_answer", error_type=type(error).__name__)
        return "down"
    return "ok"


def metrics(made: Services) -> Response:
    """Prometheus text for an API key, or for whoever asks from this machine directly."""
    if not _from_this_machine():
        principal_of(request, made)
    return Response(render(made.settings, made.db, made.broker, made.live), content_type=CONTENT_TYPE)


def _from_this_machine() -> bool:
    if "X-Forwarded-For" in request.headers or "Forwarded" in request.headers:
        return False
    # A page of a name that was made to lead here would make a browser of this machine read them.
    host = urlsplit(f"//{request.host}").hostname or ""
    return _is_loopback(request.remote_addr or "") and (host == "localhost" or _is_loopback(host))


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
