"""A client that lives through subscriptions: comes, opens an invoice, pays it, extends, asks for runs."""

from __future__ import annotations

import random
import threading
import uuid
from typing import Any, Final

from tenure.chaos.history import History, Kind
from tenure.chaos.outside import ASSET, CHAIN, PROVIDER
from tenure.chaos.throwaway import Stack
from tenure.chaos.workload.attempt import Attempts
from tenure.standins import token
from tenure.standins.ledger import Move

PLANS: Final = ("daily", "tried")
_JOBS: Final = ("expiry", "reminders", "activation", "payment_watcher", "auto_renewal")
_KNOWN: Final = 30
_TRIES_FIRST: Final = 0.5
_TOLD_TWICE: Final = 0.2


class Customer(threading.Thread):
    """One client with dice of its own: the same seed throws the same numbers."""

    def __init__(self, number: int, stack: Stack, history: History, *, seed: int, pause_s: float) -> None:
        """`pause_s` is the mean pause between two things it does. Does nothing before `start()`."""
        super().__init__(name=f"client-{number}", daemon=True)
        self._stack = stack
        self._history = history
        self._dice = random.Random(f"{seed}:{self.name}")  # noqa: S311 - a plan, not a secret
        self._pause_s = pause_s
        self._stopping = threading.Event()
        self._attempt = Attempts(self.name, history, self._stopping)
        self._count = 0
        self._subscriptions: list[str] = []

    def run(self) -> None:
        """Until `stop()`: one thing after the other, each with its pause."""
        while not self._stopping.wait(self._dice.uniform(0.5, 1.5) * self._pause_s):
            chosen = self._dice.choices(["newcomer", "extend", "run"], weights=[6, 2, 2])[0]
            if chosen == "newcomer" or not self._subscriptions:
                self._newcomer()
            elif chosen == "extend":
                self._extend()
            else:
                self._ask_for_a_run()

    def stop(self) -> None:
        """It ends after what it is doing."""
        self._stopping.set()

    def _post(self, path: str, body: dict[str, Any], key: str) -> Any:
        return self._stack.api("POST", path, body, key=key)

    def _newcomer(self) -> None:
        self._count += 1
        name = f"{self.name}-{self._count}"
        details = {
            "external_id": name,
            "email": f"{name}@example.com",
            "telegram_chat_id": str(self._dice.randrange(10**6, 10**9)),
        }
        key = self._key()
        customer = self._attempt("customer", name, lambda: self._post("/customers", details, key))
        if customer is None:
            return
        order = {"customer_id": customer["id"], "plan_code": self._dice.choice(PLANS)}
        order["trial"] = order["plan_code"] == "tried" and self._dice.random() < _TRIES_FIRST
        key = self._key()
        subscription = self._attempt("subscription", name, lambda: self._post("/subscriptions", order, key))
        if subscription is None:
            return
        self._pay(subscription["id"])
        self._subscriptions = [*self._subscriptions, subscription["id"]][-_KNOWN:]

    def _pay(self, subscription: str) -> None:
        way = self._dice.choice(
            [
                {"method": "manual"},
                {"method": "provider", "provider": PROVIDER},
                {"method": "chain", "chain": CHAIN, "asset": ASSET},
            ]
        )
        key, path = self._key(), f"/subscriptions/{subscription}/invoices"
        invoice = self._attempt("invoice", subscription, lambda: self._post(path, way, key))
        if invoice is None:
            return
        match way["method"]:
            case "manual":
                self._settle(invoice)
            case "provider":
                self._confirm(invoice)
            case _:
                self._transfer(invoice)

    def _settle(self, invoice: dict[str, Any]) -> None:
        key, path = self._key(), f"/invoices/{invoice['id']}/settle"
        self._attempt("settle", invoice["id"], lambda: self._post(path, {"reason": "paid in cash"}, key))

    def _confirm(self, invoice: dict[str, Any]) -> None:
        """The provider's message, signed anew for each try, and now and then told once more."""
        message_id = f"msg-{self._key()}"
        message = {
            "type": "payment.confirmed",
            "invoice_id": invoice["id"],
            "provider_ref": message_id,
            **invoice["amount"],
        }

        def tell() -> Any:
            body, headers = self._stack.outside.signed(message_id, message)
            return self._stack.call("POST", f"/hooks/payments/{PROVIDER}", body=body, headers=headers).json()

        self._attempt("webhook", message_id, tell)
        if self._dice.random() < _TOLD_TWICE:
            self._attempt("webhook", message_id, tell)

    def _transfer(self, invoice: dict[str, Any]) -> None:
        quote = invoice["quote"]
        move = Move(token.ADDRESS, quote["address"].lower(), int(quote["amount_units"]))
        tx_hash = self._stack.outside.chain.ledger.submit([move])
        self._history.add(self.name, "transfer", Kind.INVOKE, tx_hash)
        self._history.add(self.name, "transfer", Kind.OK, tx_hash)

    def _extend(self) -> None:
        subscription = self._dice.choice(self._subscriptions)
        key = self._key()
        order = {"hours": self._dice.randrange(1, 30), "reason": key}
        path = f"/subscriptions/{subscription}/extend"
        self._attempt("extend", key, lambda: self._post(path, order, key))

    def _ask_for_a_run(self) -> None:
        job, key = self._dice.choice(_JOBS), self._key()
        self._attempt("run", key, lambda: self._post(f"/jobs/{job}/runs", {}, key))

    def _key(self) -> str:
        return str(uuid.UUID(int=self._dice.getrandbits(128), version=4))
