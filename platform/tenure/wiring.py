"""The composition root: what the settings name, built once for a process and handed to those who need it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial

from tenure.kit.db import Database
from tenure.kit.http import HttpDoor
from tenure.kit.sealing import Sealer
from tenure.notices.ports import Sender
from tenure.payments.ports import ChainReader
from tenure.providers.chain.evm import EvmChain
from tenure.providers.notify import webhook
from tenure.providers.notify.email import EmailSender
from tenure.providers.notify.telegram import TelegramSender
from tenure.providers.provisioner import HttpProvisioner
from tenure.provisioning.ports import Provisioner
from tenure.settings import Settings
from tenure.subscriptions.sight import Patience
from tenure.webhooks.ports import Post
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
    def provisioner(self) -> Provisioner | None:
        """The service whose accounts are switched, or None when no URL is set."""
        url, secret = self.settings.provisioner_url, self.settings.provisioner_secret
        if url is None or secret is None:
            return None
        return HttpProvisioner(self.door, url=url, secrets=[secret.get_secret_value()])

    @cached_property
    def senders(self) -> Mapping[str, Sender]:
        """The channels that are configured, by their names."""
        found: list[Sender] = []
        if self.settings.smtp_url is not None:
            url = self.settings.smtp_url.get_secret_value()
            found.append(EmailSender(url=url, mail_from=self.settings.mail_from))
        if self.settings.telegram_token is not None:
            token = self.settings.telegram_token.get_secret_value()
            found.append(TelegramSender(self.door, token=token, api_url=self.settings.telegram_api_url))
        return {sender.channel: sender for sender in found}

    @cached_property
    def chains(self) -> Mapping[str, ChainReader]:
        """The chains that are watched, by their names."""
        return chain_readers(self.settings, self.door)

    @cached_property
    def post_webhook(self) -> Post:
        """The way to webhook endpoints."""
        return partial(webhook.post, self.guarded_door)

    @cached_property
    def webhook_sealer(self) -> Sealer:
        """What opens the secrets of webhook endpoints."""
        return sealer_of(self.settings)

    @property
    def patience(self) -> Patience:
        """How long an expiry waits for payments that cannot be seen."""
        return Patience(reopen_hold_s=self.settings.reopen_hold_s, blind_max_h=self.settings.blind_max_h)


def chain_readers(settings: Settings, door: HttpDoor) -> Mapping[str, ChainReader]:
    """A reader of each chain of the settings, by name; nothing is asked yet.

    A chain's own coin cannot be received (its transfers leave no log), which must not hide its tokens.
    """
    return {
        chain.name: EvmChain.from_settings(
            door,
            chain.model_copy(
                update={"assets": tuple(asset for asset in chain.assets if asset.contract is not None)}
            ),
        )
        for chain in settings.chains
    }


def build(settings: Settings, *, pool_size: int, application: str) -> Deps:
    """Everything lazily: nothing connects before it is used."""
    return Deps(
        settings=settings,
        db=Database(settings.require_database_url(), pool_size=pool_size, application=application),
    )
