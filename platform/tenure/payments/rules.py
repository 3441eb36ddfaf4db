"""The arithmetic of payments, as pure functions: exact amounts, what they are worth, what they settle.

An invoice on a chain is named by its exact amount: the price in base units, rounded up, plus a tag of less
than one minor unit (a cent). The tag is no money: paying a tagged amount is worth exactly the price.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from math import ceil, floor
from typing import Final

from tenure.errors import Invalid
from tenure.kit.money import Money, exponent

MOST_TAGS: Final = 9_999
# NUMERIC(78, 0), and what a token contract can hold.
_MOST_UNITS: Final = 2**256 - 1

LATE_WINDOW: Final = timedelta(days=7)
SHORTEST_OPEN: Final = timedelta(hours=24)
LONGEST_OPEN: Final = timedelta(days=7)
_AFTER_GRACE: Final = timedelta(hours=1)


class InvoiceStatus(StrEnum):
    """Where an invoice is in its life."""

    DRAFT = "draft"
    OPEN = "open"
    PAID = "paid"
    EXPIRED = "expired"
    VOID = "void"


class Odd(StrEnum):
    """What was unusual about an invoice's payment: its `exception`."""

    NONE = "none"
    UNDERPAID = "underpaid"
    OVERPAID = "overpaid"
    LATE = "late"
    REVERSED = "reversed"


class Method(StrEnum):
    """How an invoice is meant to be paid."""

    CHAIN = "chain"
    PROVIDER = "provider"
    MANUAL = "manual"


@dataclass(frozen=True, slots=True)
class Grid:
    """The amounts that stand for one price: `base + tag * step` for each tag of `first..last`."""

    base: int
    step: int
    first: int
    last: int

    def amount(self, tag: int) -> int:
        """The amount in base units with this tag."""
        return self.base + tag * self.step

    @property
    def tags(self) -> int:
        """How many there are."""
        return self.last - self.first + 1


def _units_per_minor(currency: str, rate: Decimal, decimals: int) -> Fraction:
    minors_per_unit: Fraction = Fraction(rate) * 10 ** exponent(currency)
    return Fraction(10**decimals) / minors_per_unit


def grid(price: Money, *, rate: Decimal, decimals: int) -> Grid:
    """The amounts of an asset that may stand for this price at `rate` (the price of one unit).

    All cover the price, and none exceeds it by a whole minor unit. The step is a power of ten, so that
    an asset of 18 decimals is quoted with few digits. Tag 0 (the bare price) is used only where there is no
    room for another, because people send bare prices by mistake.
    """
    per_minor = _units_per_minor(price.currency, rate, decimals)
    exact = price.amount_minor * per_minor
    step = 1
    while step * 10 * (MOST_TAGS + 1) <= per_minor:
        step *= 10
    base = ceil(exact / step) * step
    if base > _MOST_UNITS:
        raise Invalid.field("asset", "amount_too_large", "the price is beyond what this asset can express")
    last = min(ceil((exact + per_minor - base) / step) - 1, MOST_TAGS)
    return Grid(base, step, 1, last) if last >= 1 else Grid(base, step, 0, 0)


def worth(units: int, *, rate: Decimal, decimals: int, currency: str) -> int:
    """What so many base units are worth in minor units, rounded down."""
    return floor(units / _units_per_minor(currency, rate, decimals))


def confirmations(head: int, block: int) -> int:
    """How many blocks confirm a payment in `block`: the block itself is the first."""
    return max(0, head - block + 1)


def deepest_confirmed(head: int, required: int) -> int:
    """Payments up to this block have the required confirmations."""
    return head - required + 1


@dataclass(frozen=True, slots=True)
class Settlement:
    """What one payment does to its invoice.

    `applied` pays for the invoice, `excess` stays on the customer's balance; `completes` says that the
    invoice is paid by it, `odd` is the invoice's exception afterwards.
    """

    applied: int
    excess: int
    completes: bool
    odd: Odd


def settlement(
    *, received: int, amount: int, applied_before: int, status: InvoiceStatus, odd: Odd, late: bool
) -> Settlement:
    """What a confirmed payment of `received` does to an invoice of `amount`.

    A late payment must complete the invoice by itself: parts of what has expired stay on the balance.
    Whatever comes for a paid invoice is an overpayment.
    """
    if status is InvoiceStatus.PAID:
        return Settlement(0, received, completes=False, odd=odd if odd is Odd.LATE else Odd.OVERPAID)
    remaining = amount - applied_before
    if received >= remaining:
        excess = received - remaining
        after = Odd.LATE if late else Odd.OVERPAID if excess else Odd.NONE
        return Settlement(remaining, excess, completes=True, odd=after)
    if status is InvoiceStatus.EXPIRED:
        return Settlement(0, received, completes=False, odd=Odd.UNDERPAID)
    return Settlement(received, 0, completes=False, odd=Odd.UNDERPAID)


def expires_at(now: datetime, grace_until: datetime | None) -> datetime:
    """Until when an invoice opened now can be paid in time.

    At least a day; beyond the end of access where that is near, so that nobody loses access while the
    invoice that would keep it is open; at most a week, because a quoted rate does not hold for ever.
    """
    wanted = grace_until + _AFTER_GRACE if grace_until is not None else now
    return min(max(wanted, now + SHORTEST_OPEN), now + LONGEST_OPEN)


def payment_uri(*, contract: str, chain_id: int, address: str, units: int) -> str:
    """The payment as EIP-681 writes it, for wallets and QR codes."""
    return f"ethereum:{contract}@{chain_id}/transfer?address={address}&uint256={units}"


def invoice_number(n: int) -> str:
    """The number that people read."""
    return f"INV-{n:06d}"
