"""Traffic of the demo: visitors who come, pay on the stand-in's chain, run out, and come again.

There are so many visitors and no more, so that a demo that runs for days does not fill the lists. Without the
demo's plans (they were taken out) nothing happens.
"""

from __future__ import annotations

import random
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import text

from tenure.customers.create import create as create_customer
from tenure.demo import cast
from tenure.demo.load import DEMO, has_telegram_stand_in, ways_to_pay
from tenure.demo.marks import CUSTOMERS, PLANS, refuse_in_production
from tenure.errors import TenureError
from tenure.kit.db import Database
from tenure.kit.logging import get_logger
from tenure.payments.open_invoice import open_invoice
from tenure.payments.rules import Method
from tenure.payments.settle import settle
from tenure.settings import Settings
from tenure.subscriptions.expire import expire
from tenure.subscriptions.start import start

VISITORS: Final = 24
_KIND: Final = "visitor-"
_TRIES_FIRST: Final = 4  # each fourth visitor begins with a trial
_REMEMBERED: Final = 1000
_log = get_logger(__name__)

_WORLD: Final = text(f"SELECT count(*) FROM plan WHERE {PLANS}")
_VISITOR: Final = text("""
    SELECT c.id AS customer_id, s.id, s.status, s.paid_periods FROM customer c
    LEFT JOIN subscription s ON s.customer_id = c.id
    WHERE c.external_id = :external_id ORDER BY s.id DESC LIMIT 1
""")
# The oldest that nobody has paid anything of. Renewals are left alone, so that some customers run out.
_UNPAID: Final = text(f"""
    SELECT i.id, i.subscription_id, q.address, q.amount_units FROM invoice i
    JOIN customer c ON c.id = i.customer_id
    LEFT JOIN quote q ON q.invoice_id = i.id AND q.live
    WHERE i.status = 'open' AND i.origin = 'request' AND i.paid_minor = 0 AND i.id <> ALL(:done)
      AND {CUSTOMERS}
      AND (q.id IS NOT NULL OR i.method = :by_hand)
      AND NOT EXISTS (SELECT 1 FROM payment p WHERE p.invoice_id = i.id)
    ORDER BY i.id LIMIT 1
""")

# Pays an address so many base units; returns the transaction's hash.
Pay = Callable[[str, int], str]


@dataclass(slots=True)
class Traffic:
    """The visitors of one install. Without `pay` invoices are settled by hand."""

    db: Database
    settings: Settings
    pay: Pay | None
    seed: int = 1
    _dice: random.Random = field(init=False)
    _paid: deque[str] = field(init=False)

    def __post_init__(self) -> None:
        refuse_in_production(self.settings)
        self._dice = random.Random(self.seed)  # noqa: S311 - a story, not a secret
        self._paid = deque(maxlen=_REMEMBERED)

    def step(self) -> str | None:
        """One visitor does something and one open invoice is paid; the paid invoice's id."""
        with self.db.transaction() as session:
            if not session.execute(_WORLD).scalar_one():
                return None
        self._visit(self._dice.randrange(VISITORS))
        return self._pay_one()

    def run(self, stopping: threading.Event, every_s: float) -> None:
        """Step until told to stop; what fails is logged and tried again with the next step."""
        while not stopping.wait(every_s):
            try:
                paid = self.step()
            except TenureError as error:
                _log.warning("demo.step_failed", error=error.message)
            else:
                _log.info("demo.step", paid=paid)

    def _visit(self, number: int) -> None:
        """The visitor is there and owes something: who has access now lets it run out first."""
        details = cast.person(number, telegram=has_telegram_stand_in(self.settings), kind=_KIND)
        with self.db.transaction() as session:
            found = session.execute(_VISITOR, {"external_id": details.external_id}).first()
            if found is None:
                customer_id = create_customer(session, details, actor=DEMO)["id"]
            else:
                customer_id = found.customer_id
            if found is None or found.status in {None, "canceled"}:
                plan = self._dice.choice(tuple(cast.PLANS))
                trial = number % _TRIES_FIRST == 0
                subscription_id = start(
                    session, customer_id=customer_id, plan_code=plan, trial=trial, actor=DEMO
                )
            else:
                subscription_id = found.id
        if found is not None and found.status == "paused":
            return
        with self.db.transaction() as session:
            if found is not None and (found.status in {"active", "past_due"} or found.paid_periods):
                expire(session, subscription_id, reason="the demo's visitor starts over", actor=DEMO)
            open_invoice(
                session,
                self.settings,
                subscription_id=subscription_id,
                wanted=ways_to_pay(self.settings),
                actor=DEMO,
            )

    def _pay_one(self) -> str | None:
        by_hand = Method.MANUAL.value if self.pay is None else ""
        with self.db.transaction() as session:
            unpaid = session.execute(_UNPAID, {"done": list(self._paid), "by_hand": by_hand}).first()
            if unpaid is not None and self.pay is None:
                settle(session, unpaid.id, reason="paid in cash at the demo's counter", actor=DEMO)
        if unpaid is None:
            return None
        self._paid.append(unpaid.id)
        if self.pay is not None:
            self._transfer(self.pay, unpaid)
        invoice_id: str = unpaid.id
        return invoice_id

    @staticmethod
    def _transfer(pay: Pay, unpaid: Any) -> None:
        pay(unpaid.address, int(unpaid.amount_units))
