"""Ask one integration whether it would work now: a real call with a deadline, and without any effect there.

A probe passes no breaker and moves none: it is how an operator looks behind an open one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import text

from tenure.errors import Conflict, TenureError
from tenure.integrations.known import CHAIN, MAIL, PROVISIONER, TELEGRAM, WEBHOOK, Integration
from tenure.kit import clock
from tenure.kit.db import Database
from tenure.kit.http import Bounds, ErrorAnswer, HttpDoor
from tenure.providers.chain.rpc import JsonRpc
from tenure.providers.notify.email import EmailSender
from tenure.settings import Settings

_BOUNDS: Final = Bounds(connect_s=3, read_s=5, total_s=8)
_SERVER_ERROR: Final = 500
_UNAUTHORIZED: Final = (401, 403)
_ENDPOINT: Final = text("SELECT url FROM webhook_endpoint WHERE id = :id")
_TOLD: Final = text("SELECT max(received_at) FROM inbound_event WHERE provider = :name")


@dataclass(frozen=True, slots=True)
class Probe:
    """What the probe came to; `detail` is for people and holds no secret."""

    ok: bool
    took_ms: float
    detail: str


def probe(integration: Integration, settings: Settings, db: Database) -> Probe:
    """Try it once. Raises Conflict for one that is not set up, BrokenRule inside a transaction."""
    if not integration.configured:
        raise Conflict(f"{integration.name} is not set up", code="not_configured")
    began = clock.monotonic()
    try:
        ok, detail = _ask(integration, settings, db)
    except TenureError as error:
        ok, detail = False, error.message
    return Probe(ok, round((clock.monotonic() - began) * 1000, 1), detail)


def _ask(integration: Integration, settings: Settings, db: Database) -> tuple[bool, str]:
    name = integration.name
    if name == MAIL:
        return _mail(settings)
    if integration.kind == "payment_provider":
        return True, _last_told(db, name)
    door = HttpDoor(allow_private=integration.kind != "webhook" or settings.private_urls_allowed)
    try:
        if name.startswith(CHAIN):
            return _chain(door, settings, name.removeprefix(CHAIN))
        return _http(door, name, settings, db)
    finally:
        door.close()


def _mail(settings: Settings) -> tuple[bool, str]:
    if settings.smtp_url is None:
        return False, "no mail server is set"
    sender = EmailSender(
        url=settings.smtp_url.get_secret_value(), mail_from=settings.mail_from, bounds=_BOUNDS
    )
    problem = sender.probe()
    return problem is None, problem or "the server greeted us and would take a mail"


def _last_told(db: Database, name: str) -> str:
    with db.transaction() as session:
        at = session.execute(_TOLD, {"name": name.partition(":")[2]}).scalar()
    last = f"its last webhook came at {at.isoformat()}" if at else "no webhook of it has come yet"
    return f"this provider calls us, it is not called; {last}"


def _chain(door: HttpDoor, settings: Settings, name: str) -> tuple[bool, str]:
    chain = next(one for one in settings.chains if one.name == name)
    said, well = [], 0
    for number, url in enumerate(chain.rpc_urls, start=1):
        rpc = JsonRpc(door, name=f"node {number}", urls=[url], chain_id=chain.chain_id, bounds=_BOUNDS)
        try:
            height = int(rpc.call("eth_blockNumber"), 16)
        except (TenureError, TypeError, ValueError) as error:
            said.append(
                error.message if isinstance(error, TenureError) else f"node {number}: no block number"
            )
        else:
            well += 1
            said.append(f"node {number} is at block {height}")
    return well > 0, "; ".join(said)


def _http(door: HttpDoor, name: str, settings: Settings, db: Database) -> tuple[bool, str]:
    method, url = "GET", ""
    judge: Callable[[int], bool] = _alive
    if name == PROVISIONER:
        url = f"{settings.provisioner_url}/"
    elif name == TELEGRAM and settings.telegram_token is not None:
        url = f"{settings.telegram_api_url}/bot{settings.telegram_token.get_secret_value()}/getMe"
        judge = _is_success
    elif name.startswith(WEBHOOK):
        method = "HEAD"
        with db.transaction() as session:
            url = session.execute(_ENDPOINT, {"id": name.removeprefix(WEBHOOK)}).scalar_one()
    try:
        status = door.request(method, url, bounds=_BOUNDS).status
    except ErrorAnswer as error:
        status = error.answered_status
    if status in _UNAUTHORIZED and name == TELEGRAM:
        return False, f"answered {status}: the token is refused"
    return judge(status), f"answered {status}"


def _alive(status: int) -> bool:
    """A path that nobody serves is as good an answer as any: the service answers."""
    return status < _SERVER_ERROR


def _is_success(status: int) -> bool:
    return status in range(200, 300)
