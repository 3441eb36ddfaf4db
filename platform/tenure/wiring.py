"""The composition root: what the settings name, built once for a process and handed to those who need it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from tenure.integrations import known
from tenure.integrations.guards import Guards
from tenure.keys.live_ring import LiveRing
from tenure.kit.db import Database
from tenure.kit.http import HttpDoor
from tenure.kit.pace import Pace
from tenure.kit.sealing import Sealer
from tenure.notices.ports import Sender
from tenure.payments.ports import ChainReader
from tenure.providers.chain.evm import EvmChain
from tenure.providers.notify import telegram, webhook
from tenure.providers.notify.email import EmailSender
from tenure.providers.notify.telegram import TelegramSender
from tenure.providers.provisioner import HttpProvisioner
from tenure.provisioning.ports import Provisioner
from tenure.settings import Settings
from tenure.subscriptions.sight import Patience
from tenure.webhooks.ports import Post, Told
from tenure.webhooks.secret import sealer_of


@dataclass
class Deps:
    """What jobs are given beside their run. What reaches outside is built when it is first asked for."""

    settings: Settings
    db: Database

    @cached_property
    def door(self) -> HttpDoor:
        """The way out to addresses that the operator named in the settings: they may be private ones."""
        return HttpDoor(allow_private=True)

    @cached_property
    def guarded_door(self) -> HttpDoor:
        """The way out to addresses that came in through the API: private ones only where allowed."""
        return HttpDoor(allow_private=self.settings.private_urls_allowed)

    @cached_property
    def guards(self) -> Guards | None:
        """What stands before each integration; None where no Valkey is set, as in some tools."""
        if self.settings.live_url is None and self.settings.broker_url is None:
            return None
        return Guards(self.settings.require_live_url(), self.db)

    def guarded(self, door: HttpDoor, name: str, *, part_of: str | None = None) -> HttpDoor:
        """This door, for calls to one integration."""
        return door if self.guards is None else self.guards.door(door, name, part_of=part_of)

    @cached_property
    def provisioner(self) -> Provisioner | None:
        """The service whose accounts are switched, or None when no URL is set."""
        url, secret = self.settings.provisioner_url, self.settings.provisioner_secret
        if url is None or secret is None:
            return None
        door = self.guarded(self.door, known.PROVISIONER)
        return HttpProvisioner(door, url=url, secrets=[secret.get_secret_value()])

    @cached_property
    def senders(self) -> Mapping[str, Sender]:
        """The channels that are configured, by their names."""
        found: list[Sender] = []
        if self.settings.smtp_url is not None:
            url = self.settings.smtp_url.get_secret_value()
            guard = self.guards.guard(known.MAIL) if self.guards is not None else None
            found.append(EmailSender(url=url, mail_from=self.settings.mail_from, guard=guard))
        if self.settings.telegram_token is not None:
            token = self.settings.telegram_token.get_secret_value()
            door = self.guarded(self.door, known.TELEGRAM)
            found.append(
                TelegramSender(door, token=token, api_url=self.settings.telegram_api_url, pace=self._pace())
            )
        return {sender.channel: sender for sender in found}

    def _pace(self) -> Pace | None:
        if self.guards is None:
            return None
        return Pace(self.guards.live, known.TELEGRAM, total=telegram.TOTAL, each=telegram.EACH_CHAT)

    @cached_property
    def chains(self) -> Mapping[str, ChainReader]:
        """The chains that are watched, by their names."""
        return chain_readers(self.settings, self.door, guarded=self.guarded)

    @cached_property
    def post_webhook(self) -> Post:
        """The way to webhook endpoints."""
        return _Poster(self)

    @cached_property
    def keys(self) -> LiveRing:
        """The install's key ring."""
        return LiveRing(self.settings, self.db)

    @cached_property
    def webhook_sealer(self) -> Sealer:
        """What opens the secrets of webhook endpoints."""
        return sealer_of(self.keys)

    @property
    def patience(self) -> Patience:
        """How long an expiry waits for payments that cannot be seen."""
        return Patience(reopen_hold_s=self.settings.reopen_hold_s, blind_max_h=self.settings.blind_max_h)


@dataclass(frozen=True, slots=True)
class _Poster:
    """Posts to webhook endpoints, each behind a guard of its own."""

    deps: Deps

    def __call__(
        self, *, endpoint_id: str, url: str, secrets: Sequence[str], message_id: str, body: bytes
    ) -> Told:
        door = self.deps.guarded(self.deps.guarded_door, known.WEBHOOK + endpoint_id)
        return webhook.post(door, url=url, secrets=secrets, message_id=message_id, body=body)


def chain_readers(
    settings: Settings, door: HttpDoor, *, guarded: Callable[..., HttpDoor] | None = None
) -> Mapping[str, ChainReader]:
    """A reader of each chain of the settings, by name; nothing is asked yet.

    `guarded` gives a door for one RPC node: `guarded(door, name, part_of=integration)`.

    A chain's own coin cannot be received (its transfers leave no log), which must not hide its tokens.
    """
    return {
        chain.name: EvmChain.from_settings(
            door,
            chain.model_copy(
                update={"assets": tuple(asset for asset in chain.assets if asset.contract is not None)}
            ),
            doors=[
                guarded(door, name, part_of=known.CHAIN + chain.name) for name in known.node_breakers(chain)
            ]
            if guarded is not None
            else None,
        )
        for chain in settings.chains
    }


def build(settings: Settings, *, pool_size: int, application: str) -> Deps:
    """Everything lazily: nothing connects before it is used."""
    return Deps(
        settings=settings,
        db=Database(settings.require_database_url(), pool_size=pool_size, application=application),
    )
