"""The integrations of an install: by the settings, and one for each webhook endpoint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from tenure.errors import NotFound
from tenure.settings import Chain, Settings

PROVISIONER: Final = "provisioner"
MAIL: Final = "mail"
TELEGRAM: Final = "telegram"
CHAIN: Final = "chain:"
PROVIDER: Final = "provider:"
WEBHOOK: Final = "webhook:"

_ENDPOINTS: Final = text("SELECT id, disabled_at IS NULL AS enabled FROM webhook_endpoint ORDER BY id")
_ENDPOINT: Final = text("SELECT disabled_at IS NULL AS enabled FROM webhook_endpoint WHERE id = :id")


@dataclass(frozen=True, slots=True)
class Integration:
    """Something outside. `breakers` are the names of its breakers; none where only the other side calls."""

    name: str
    kind: str
    configured: bool
    breakers: tuple[str, ...] = ()


def node_breakers(chain: Chain) -> tuple[str, ...]:
    """The names of the breakers of a chain's RPC nodes, in the order of its URLs."""
    if len(chain.rpc_urls) == 1:
        return (CHAIN + chain.name,)
    return tuple(f"{CHAIN}{chain.name}:{number}" for number in range(1, len(chain.rpc_urls) + 1))


def known(session: Session, settings: Settings) -> list[Integration]:
    """All of them: those that can be set up first, then webhook endpoints, the oldest first."""
    endpoints = [_endpoint(row.id, row.enabled) for row in session.execute(_ENDPOINTS)]
    return [*configured(settings), *endpoints]


def one(session: Session, settings: Settings, name: str) -> Integration:
    """The integration of this name. Raises NotFound."""
    for found in configured(settings):
        if found.name == name:
            return found
    endpoint_id = name.removeprefix(WEBHOOK)
    row = session.execute(_ENDPOINT, {"id": endpoint_id}).first() if name.startswith(WEBHOOK) else None
    if row is None:
        raise NotFound(f"there is no integration {name!r}")
    return _endpoint(endpoint_id, row.enabled)


def configured(settings: Settings) -> list[Integration]:
    """Those that the settings name, or could name."""
    return [
        Integration(PROVISIONER, "provisioner", settings.provisioner_url is not None, (PROVISIONER,)),
        Integration(MAIL, "notifier", settings.smtp_url is not None, (MAIL,)),
        Integration(TELEGRAM, "notifier", settings.telegram_token is not None, (TELEGRAM,)),
        *(
            Integration(CHAIN + chain.name, "chain", configured=True, breakers=node_breakers(chain))
            for chain in settings.chains
        ),
        *(
            Integration(PROVIDER + given.name, "payment_provider", configured=True)
            for given in settings.payment_providers
        ),
    ]


def _endpoint(endpoint_id: str, enabled: bool) -> Integration:
    name = WEBHOOK + endpoint_id
    return Integration(name, "webhook", enabled, (name,))
