"""One customer's story on a stack: the verbs of its steps, and the looks at what came of them.

It acts through the API, the commands and the stand-ins outside, as everybody else does. What a step expects
is said by names (`status`, `entitled`, `mails` ...); each name has a look that fetches it.
"""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, Final

from tenure.chaos.outside import ASSET, CHAIN, PROVIDER
from tenure.chaos.scenarios.told import Told
from tenure.chaos.throwaway import Stack
from tenure.errors import Permanent
from tenure.kit import clock
from tenure.kit.http import ErrorAnswer
from tenure.kit.ids import new_id
from tenure.standins.devchain import DevChain

PRICE: Final = 999
ON_CHAIN: Final = MappingProxyType({"method": "chain", "chain": CHAIN, "asset": ASSET})
BY_PROVIDER: Final = MappingProxyType({"method": "provider", "provider": PROVIDER})
BY_HAND: Final = MappingProxyType({"method": "manual"})
_WITHIN_S: Final = 150.0
_STEP_S: Final = 0.1


@dataclass(slots=True)
class Story:
    """A subscription that is lived, and its customer. Every story has a plan and a customer of its own."""

    stack: Stack
    chain: DevChain
    name: str
    plan_code: str = field(default_factory=lambda: f"plan-{uuid.uuid4().hex[:8]}")
    external_id: str = field(default_factory=lambda: f"cust-{uuid.uuid4().hex[:8]}")
    subscription_id: str = ""
    invoice_id: str = ""
    remembered: dict[str, Any] = field(default_factory=dict)
    _ahead_s: float | None = None

    # --- verbs: what the operator and the customer do

    def make_plan(self, **terms: Any) -> None:
        """A monthly plan of 9.99 USD without trial, grace or reminders, unless told otherwise."""
        given = {
            "code": self.plan_code,
            "name": self.name,
            "price": {"amount_minor": PRICE, "currency": "USD"},
            "interval": {"unit": "month", "count": 1},
            "trial_days": 0,
            "grace_hours": 0,
            "reminders": [],
            "auto_renew": False,
            **terms,
        }
        self.api("POST", "/plans", given)

    def subscribe(self, *, trial: bool = False, **terms: Any) -> None:
        """The plan with these terms, a customer with an e-mail address, and the subscription."""
        self.make_plan(**terms)
        details = {"external_id": self.external_id, "email": f"{self.external_id}@example.com"}
        customer = self.api("POST", "/customers", details)
        wanted = {"customer_id": customer["id"], "plan_code": self.plan_code, "trial": trial}
        self.subscription_id = self.api("POST", "/subscriptions", wanted)["id"]

    def act(self, verb: str, **body: Any) -> Any:
        """An operator's action on the subscription."""
        return self.api("POST", f"/subscriptions/{self.subscription_id}/{verb}", body)

    def order(self, way: Mapping[str, str]) -> dict[str, Any]:
        """The open invoice of the next period, payable in this way."""
        invoice: dict[str, Any] = self.act("invoices", **way)
        self.invoice_id = invoice["id"]
        return invoice

    def transfer(self, units: int | None = None) -> str:
        """Pay the invoice's quote on the chain, or another amount; the transaction's hash."""
        quote = self.invoice()["quote"]
        amount = int(quote["amount_units"]) if units is None else units
        self.remembered["height"] = self.chain.head()
        return self.chain.transfer(quote["address"], amount)

    def reorganize(self, *, keep: bool) -> None:
        """All blocks since before the last transfer are replaced; what was in them comes back, or never."""
        self.chain.reorg(self.chain.head() - self.remembered["height"], keep=keep)

    def tell(self, ref: str, amount_minor: int, *, message_id: str | None = None) -> Any:
        """The payment provider says that the invoice was paid; what our door answers."""
        message = {
            "type": "payment.confirmed",
            "invoice_id": self.invoice_id,
            "provider_ref": ref,
            "amount_minor": amount_minor,
            "currency": "USD",
        }
        body, headers = self.stack.outside.signed(message_id or new_id("msg"), message)
        return self.stack.call("POST", f"/hooks/payments/{PROVIDER}", body=body, headers=headers).json()

    def pay_by_provider(self) -> None:
        """Order the next period and pay it in full."""
        self.order(BY_PROVIDER)
        self.tell(new_id("ref"), PRICE)

    def run(self, job: str) -> str:
        """Run the job now and wait for it; its outcome. A run that is under way already is waited out."""
        deadline, pause = clock.monotonic() + _WITHIN_S, threading.Event()
        while True:
            slot_id = self.api("POST", f"/jobs/{job}/runs", {})["slot_id"]
            while (became := self._became(slot_id)) is None:
                if clock.monotonic() > deadline:
                    return "not within the time"
                pause.wait(_STEP_S)
            if became != "skipped: overlap":
                return became

    def _became(self, slot_id: str) -> str | None:
        """How the slot's iteration ended, or why it was skipped; None while that is open."""
        slot = self.api("GET", f"/slots/{slot_id}")
        if slot["state"] == "skipped":
            return f"skipped: {slot['reason']}"
        iterations = self.api("GET", f"/iterations?slot={slot_id}")["items"]
        return next((str(one["outcome"]) for one in iterations if one["outcome"] is not None), None)

    def advance(self, by: timedelta) -> None:
        """Move domain time. Raises Permanent when the sandbox refuses."""
        self._clock("advance", f"{int(by.total_seconds())}s")

    def advance_to(self, moment: str, *, hours: float = 0) -> None:
        """Domain time is so many hours after the moment (before it, if negative) and a second more."""
        self.advance(datetime.fromisoformat(moment) + timedelta(hours=hours, seconds=1) - self.now())

    def now(self) -> datetime:
        """Domain time: the machine's and what the sandbox adds. Asked once, then known from each advance."""
        if self._ahead_s is None:
            self._clock("show")
        return clock.utc_now() + timedelta(seconds=self._ahead_s or 0.0)

    def _clock(self, *words: str) -> None:
        done = self.stack.command("clock", *words, "--json")
        if done.code != 0:
            raise Permanent(f"clock {words[0]}: exit code {done.code}: {done.stderr.strip()}")
        self._ahead_s = float(done.json()["offset_s"])

    def api(self, method: str, path: str, body: Any = None) -> Any:
        """One call to the API. Raises ErrorAnswer when it is refused."""
        return self.stack.api(method, path, body)

    def refusal(self, method: str, path: str, body: Any = None) -> str:
        """The code with which the API refuses this call; empty when it does not."""
        try:
            self.stack.api(method, path, body)
        except ErrorAnswer as error:
            return str(json.loads(error.body)["code"])
        return ""

    # --- looks

    def subscription(self) -> dict[str, Any]:
        found: dict[str, Any] = self.stack.api("GET", f"/subscriptions/{self.subscription_id}")
        return found

    def invoice(self) -> dict[str, Any]:
        found: dict[str, Any] = self.stack.api("GET", f"/invoices/{self.invoice_id}")
        return found

    def payments(self) -> list[dict[str, Any]]:
        """The payments of the invoice."""
        found: list[dict[str, Any]] = self.stack.api("GET", "/payments?limit=200")["items"]
        return [payment for payment in found if payment["invoice_id"] == self.invoice_id]

    def balance(self) -> int:
        """What the customer has to their credit, in cents."""
        customer = self.subscription()["customer_id"]
        ledger = self.stack.api("GET", f"/customers/{customer}/ledger")
        return sum(one["amount_minor"] for one in ledger["balances"])

    def kinds_mailed(self) -> list[str]:
        """The kinds of the mails that the customer got, sorted."""
        mails = self.stack.outside.mailbox.mails
        address = f"{self.external_id}@example.com"
        return sorted(mail["headers"]["X-Tenure-Kind"] for mail in mails if address in mail["to"])

    def switches(self) -> list[bool]:
        """How the provisioner's switch was turned over time, without repetitions."""
        turned: list[bool] = []
        for call in self.stack.outside.provisioner.journal:
            if call["account"] == self.subscription_id and call["effect"]:
                turned += [call["enabled"]] if turned[-1:] != [call["enabled"]] else []
        return turned

    def look(self, *names: str) -> dict[str, Any]:
        """What stands now, by these names."""
        return {name: LOOKS[name](self) for name in names}

    def becomes(self, *, within_s: float = _WITHIN_S, **expected: Any) -> Told:
        """Wait until what stands is what is expected; after the time, tell what stood instead."""
        return self.awaits(expected, lambda: self.look(*expected), within_s=within_s)

    @staticmethod
    def awaits(
        expected: Mapping[str, Any], look: Callable[[], Mapping[str, Any]], *, within_s: float = _WITHIN_S
    ) -> Told:
        """The same with a look of one's own."""
        deadline, pause = clock.monotonic() + within_s, threading.Event()
        while True:
            told = Told(expected, look())
            if told.ok or clock.monotonic() > deadline:
                return told
            pause.wait(_STEP_S)

    def stands(self, **expected: Any) -> Told:
        """What is expected, held against what stands now."""
        return Told(expected, self.look(*expected))


LOOKS: Final[Mapping[str, Callable[[Story], Any]]] = MappingProxyType(
    {
        "status": lambda s: s.subscription()["status"],
        "entitled": lambda s: s.stack.api("GET", f"/entitlements?customer={s.external_id}")["entitled"],
        "cancel_at_period_end": lambda s: s.subscription()["cancel_at_period_end"],
        "holds": lambda s: sorted(hold["kind"] for hold in s.subscription()["holds"]),
        "period_start": lambda s: s.subscription()["period_start"],
        "period_end": lambda s: s.subscription()["period_end"],
        "provisioning": lambda s: s.subscription()["provisioning"]["state"],
        "switches": Story.switches,
        "mails": Story.kinds_mailed,
        "invoice": lambda s: s.invoice()["status"],
        "exception": lambda s: s.invoice()["exception"],
        "paid": lambda s: s.invoice()["paid"]["amount_minor"],
        "payments": lambda s: sorted(f"{one['status']} {one['match']}" for one in s.payments()),
        "balance": Story.balance,
        "invoices": lambda s: sorted(
            one["status"]
            for one in s.stack.api("GET", f"/invoices?subscription={s.subscription_id}")["items"]
        ),
    }
)
