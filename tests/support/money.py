"""A chain that can be told what to do, the settings that name it, and the jobs that watch it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from tenure.audit.record import SYSTEM
from tenure.iterations.run import Run
from tenure.kit import signing
from tenure.kit.db import Database
from tenure.kit.http import HttpDoor
from tenure.payments import queries, renew, watch
from tenure.payments.open_invoice import Opened, Wanted, open_invoice
from tenure.payments.ports import ChainReader
from tenure.payments.receive_webhook import store_webhook, verify_webhook
from tenure.payments.rules import Method
from tenure.settings import Settings
from tenure.standins.chain import ChainStandIn
from tenure.standins.devchain import DevChain, Rpc, SimulatedDevChain
from tenure.standins.token import ADDRESS
from tenure.subscriptions import expire_due
from tenure.wiring import chain_readers
from tests.support import builders as build

RECEIVERS = ("0x" + "a1" * 20, "0x" + "B2" * 20)
SECRET = "whsec_" + "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0"
CHAIN = Wanted(Method.CHAIN, chain="dev", asset="USDC")
MANUAL = Wanted(Method.MANUAL)
PROVIDER = Wanted(Method.PROVIDER, provider="bank")


def settings(
    rpc_url: str, *, contract: str = ADDRESS, confirmations: int = 3, chain_id: int = 31_337, **more: Any
) -> Settings:
    """Settings with a chain `dev` that takes USDC at 1.00 and a provider `bank`."""
    chain = {
        "name": "dev",
        "kind": "evm",
        "chain_id": chain_id,
        "rpc_urls": [rpc_url],
        "confirmations": confirmations,
        "assets": [{"symbol": "USDC", "contract": contract, "decimals": 6}],
        "addresses": list(RECEIVERS),
    }
    given = {
        "chains": [chain],
        "rates": {"USDC": {"USD": "1.00"}},
        "payment_providers": [{"name": "bank", "kind": "hmac", "secret": SECRET}],
        "allow_private_urls": True,
        **more,
    }
    return Settings.model_validate(given)


@dataclass(slots=True)
class Shop:
    """A database, a chain, and everything that moves money between them."""

    db: Database
    chain: DevChain
    node: ChainStandIn
    settings: Settings
    readers: dict[str, ChainReader] = field(default_factory=dict)

    def open(self, subscription_id: str, wanted: Wanted = CHAIN) -> Opened:
        with self.db.transaction() as session:
            return open_invoice(
                session, self.settings, subscription_id=subscription_id, wanted=wanted, actor=SYSTEM
            )

    def opened(self, subscription_id: str, wanted: Wanted = CHAIN) -> dict[str, Any]:
        """The invoice that was opened, as the API shows it."""
        return self.invoice(self.open(subscription_id, wanted).invoice_id)

    def invoice(self, invoice_id: str) -> dict[str, Any]:
        with self.db.transaction() as session:
            return queries.invoice(session, self.settings, invoice_id)

    def payments(self, **filters: str) -> list[dict[str, Any]]:
        with self.db.transaction() as session:
            found: list[dict[str, Any]] = queries.payments(session, limit=200, filters=filters)["items"]
            return found

    def pay(self, invoice: dict[str, Any], units: int | None = None) -> str:
        """Pay the invoice's quote on the chain (or another amount); the transaction's hash."""
        amount = int(invoice["quote"]["amount_units"]) if units is None else units
        return self.chain.transfer(invoice["quote"]["address"], amount)

    def watch(self) -> Run:
        run = build.run(self.db, "payment_watcher")
        watch.run(run, self.settings, self.readers)
        return run

    def renew(self) -> Run:
        run = build.run(self.db, "auto_renewal")
        renew.run(run, self.settings)
        return run

    def expire(self) -> Run:
        run = build.run(self.db, "expiry")
        expire_due.run(run)
        return run

    def advance(self, by: timedelta) -> None:
        build.advance(self.db, by)

    def status(self, subscription_id: str) -> str:
        found: str = build.shown(self.db, subscription_id)["status"]
        return found

    def balance(self, customer_id: str) -> list[dict[str, Any]]:
        with self.db.transaction() as session:
            found: list[dict[str, Any]] = queries.ledger(session, customer_id, limit=100)["balances"]
            return found

    def entries(self) -> list[tuple[str, int]]:
        """Kind and amount of all ledger entries, oldest first."""
        return [
            (row.kind, row.amount_minor)
            for row in build.rows(
                self.db, "SELECT kind, amount_minor FROM ledger_entry ORDER BY created_at, id"
            )
        ]

    def deliver(self, message_id: str, **told: Any) -> bool:
        """The provider tells of a payment by a signed webhook; whether it was new."""
        body = json.dumps({"type": "payment.confirmed", "currency": "USD", **told}).encode()
        headers = signing.signed_headers([SECRET], message_id=message_id, timestamp=1000, body=body)
        verified = verify_webhook(self.settings, "bank", headers=headers, body=body, now=1000)
        with self.db.transaction() as session:
            return store_webhook(session, verified)


@contextmanager
def simulated_shop(db: Database, **options: Any) -> Iterator[Shop]:
    """A shop on a simulated chain."""
    node = ChainStandIn().start()
    rpc = Rpc(node.url)
    made = settings(node.url, **options)
    door = HttpDoor(allow_private=True)
    try:
        yield Shop(db, SimulatedDevChain(rpc), node, made, dict(chain_readers(made, door)))
    finally:
        door.close()
        rpc.close()
        node.stop()
