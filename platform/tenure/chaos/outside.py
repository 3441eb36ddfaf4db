"""The world outside a throw-away stack: stand-ins in this process, whose journals are the truth about it.

They live here and not below the stack's supervisor, so that no fault against the stack takes the witness.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tenure.kit import clock, signing
from tenure.standins import token
from tenure.standins.chain import DEV_CHAIN_ID, ChainStandIn
from tenure.standins.mailbox import MailboxStandIn
from tenure.standins.provisioner import ProvisionerStandIn
from tenure.standins.telegram import TelegramStandIn

CHAIN: Final = "chaos"
ASSET: Final = token.SYMBOL
PROVIDER: Final = "acme"
ADDRESSES: Final = (
    "0xc4a0500000000000000000000000000000000001",
    "0xc4a0500000000000000000000000000000000002",
)
_CONFIRMATIONS: Final = 2
_BLOCK_TIME_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Outside:
    """The stand-ins of one throw-away stack. A payment provider needs none: it only sends us messages."""

    provisioner: ProvisionerStandIn
    mailbox: MailboxStandIn
    telegram: TelegramStandIn
    chain: ChainStandIn
    provisioner_secret: str
    provider_secret: str
    bot: str

    def settings(self) -> dict[str, str]:
        """What a stack is told of this world."""
        chain = {
            "name": CHAIN,
            "kind": "evm",
            "chain_id": DEV_CHAIN_ID,
            "rpc_urls": [self.chain.url],
            "confirmations": _CONFIRMATIONS,
            "assets": [{"symbol": ASSET, "contract": token.ADDRESS, "decimals": token.DECIMALS}],
            "addresses": list(ADDRESSES),
        }
        provider = {"name": PROVIDER, "kind": "hmac", "secret": self.provider_secret}
        return {
            "TENURE_PROVISIONER_URL": self.provisioner.url,
            "TENURE_PROVISIONER_SECRET": self.provisioner_secret,
            "TENURE_SMTP_URL": self.mailbox.smtp_url,
            "TENURE_MAIL_FROM": "Chaos <chaos@tenure.invalid>",
            "TENURE_TELEGRAM_TOKEN": self.bot,
            "TENURE_TELEGRAM_API_URL": self.telegram.url,
            "TENURE_CHAINS": json.dumps([chain]),
            "TENURE_RATES": json.dumps({ASSET: {"USD": "1.00"}}),
            "TENURE_PAYMENT_PROVIDERS": json.dumps([provider]),
        }

    def signed(self, message_id: str, message: dict[str, Any]) -> tuple[bytes, dict[str, str]]:
        """A message of the payment provider: its body and headers, signed now."""
        body = json.dumps(message).encode()
        headers = signing.signed_headers(
            [self.provider_secret], message_id=message_id, timestamp=clock.unix_seconds(), body=body
        )
        return body, {**headers, "content-type": "application/json"}

    def save(self, folder: Path) -> None:
        """Write the journals as JSON lines: `provisioner`, `mails`, `messages`, `chain`."""
        folder.mkdir(parents=True, exist_ok=True)
        blocks = [
            {
                "number": block.number,
                "hash": block.hash,
                "transactions": [one.hash for one in block.transactions],
            }
            for block in self.chain.ledger.between(0, self.chain.ledger.head.number)
        ]
        _write(folder / "provisioner.jsonl", self.provisioner.journal)
        _write(folder / "mails.jsonl", self.mailbox.mails)
        _write(folder / "messages.jsonl", self.telegram.messages)
        _write(folder / "chain.jsonl", blocks)


def _write(path: Path, entries: Iterable[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries), encoding="utf-8")


@contextmanager
def outside() -> Iterator[Outside]:
    """The stand-ins, serving; gone after the block."""
    secret, bot = secrets.token_urlsafe(24), f"100:{secrets.token_urlsafe(24)}"
    provisioner = ProvisionerStandIn(secrets=[secret])
    mailbox, telegram = MailboxStandIn(), TelegramStandIn(token=bot)
    chain = ChainStandIn(block_time_s=_BLOCK_TIME_S)
    with ExitStack() as kept:
        for standin in (provisioner, mailbox, telegram, chain):
            kept.enter_context(standin)
        yield Outside(provisioner, mailbox, telegram, chain, secret, secrets.token_urlsafe(24), bot)
