"""Money: integers in the smallest unit, never a float.

Fiat amounts count minor units (cents) with an ISO 4217 code; crypto amounts count base units with the
asset's number of decimals, and travel as decimal strings.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal, localcontext
from typing import Final

from tenure.errors import Invalid

# ISO 4217 minor units that are not 2 (https://www.iso.org/iso-4217-currency-codes.html).
_EXPONENTS: Final = {
    "BIF": 0, "CLP": 0, "DJF": 0, "GNF": 0, "ISK": 0, "JPY": 0, "KMF": 0, "KRW": 0, "PYG": 0, "RWF": 0,
    "UGX": 0, "UYI": 0, "VND": 0, "VUV": 0, "XAF": 0, "XOF": 0, "XPF": 0, "BHD": 3, "IQD": 3, "JOD": 3,
    "KWD": 3, "LYD": 3, "OMR": 3, "TND": 3,
}  # fmt: skip
_CODE: Final = re.compile(r"[A-Z]{3}")
_PRECISION: Final = 120  # digits: more than NUMERIC(78,0) needs in any product here


def exponent(currency: str) -> int:
    """How many decimals the currency's minor unit stands for."""
    return _EXPONENTS.get(currency, 2)


@dataclass(frozen=True, slots=True)
class Money:
    """An amount in the currency's minor units."""

    amount_minor: int
    currency: str

    def __post_init__(self) -> None:
        if not _CODE.fullmatch(self.currency):
            raise Invalid.field("currency", "currency", f"{self.currency!r} is not an ISO 4217 code")

    def as_dict(self) -> dict[str, int | str]:
        return {"amount_minor": self.amount_minor, "currency": self.currency}

    def __str__(self) -> str:
        """For people: `9.99 USD`."""
        return f"{from_units(self.amount_minor, exponent(self.currency))} {self.currency}"


def from_units(units: int, decimals: int) -> str:
    """Base units as a plain decimal string: `from_units(9990123, 6) == "9.990123"`."""
    sign, digits = ("-", str(-units)) if units < 0 else ("", str(units))
    if decimals == 0:
        return sign + digits
    digits = digits.rjust(decimals + 1, "0")
    return f"{sign}{digits[:-decimals]}.{digits[-decimals:]}"


def price_in_units(price: Money, *, rate: Decimal, decimals: int) -> int:
    """How many base units of an asset the price costs at `rate` (price of one unit), rounded up.

    Rounding up means that paying the quoted amount always covers the price.
    """
    with localcontext() as context:
        context.prec = _PRECISION
        whole = Decimal(price.amount_minor).scaleb(-exponent(price.currency)) / rate
        return int(whole.scaleb(decimals).to_integral_value(rounding=ROUND_CEILING))
