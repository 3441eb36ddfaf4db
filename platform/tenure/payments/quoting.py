"""Quote an invoice on a chain: which rate holds, and an amount that no other invoice has there."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import TextClause, text
from sqlalchemy.orm import Session

from tenure.errors import Invalid, Transient
from tenure.kit.ids import new_id
from tenure.kit.money import Money
from tenure.payments.rules import Grid, grid
from tenure.settings import Settings

_CANDIDATES: Final = 64
_TRIES: Final = 4

_TAKE: Final = """
    INSERT INTO quote (id, invoice_id, chain, chain_id, asset, contract, decimals, rate, amount_units,
                       amount_minor, address, shown_address, shown_contract, confirmations, expires_at,
                       reserved_until)
    SELECT :id, :invoice_id, :chain, :chain_id, :asset, :contract, :decimals, :rate, c.units,
           :amount_minor, lower(c.address), c.address, :shown_contract, :confirmations, :expires_at,
           :reserved_until
    FROM {candidates}
    WHERE NOT EXISTS (
        SELECT 1 FROM quote q WHERE q.live AND q.chain = :chain AND q.address = lower(c.address)
          AND q.contract = :contract AND q.amount_units = c.units)
    LIMIT 1
    ON CONFLICT (chain, address, contract, amount_units) WHERE live DO NOTHING
    RETURNING id
"""
_TAKE_RANDOM: Final = text(
    _TAKE.format(
        candidates="unnest(CAST(:addresses AS text[]), CAST(:units AS numeric[])) AS c(address, units)"
    )
)
# When random tries keep finding taken amounts: whatever is still free.
_TAKE_ANY: Final = text(
    _TAKE.format(
        candidates="""(
            SELECT a.address, CAST(:base AS numeric) + t.tag * CAST(:step AS numeric) AS units
            FROM generate_series(CAST(:first AS integer), CAST(:last AS integer)) AS t(tag),
                 unnest(CAST(:addresses AS text[])) AS a(address)
        ) AS c"""
    )
)


class NoFreeAmount(Transient):
    """Every amount that could stand for this price is in use; add receiving addresses, or wait."""

    code = "no_free_amount"


@dataclass(frozen=True, slots=True)
class ChainTerms:
    """An asset on a chain at a rate. Contract and addresses are spelled as in the settings."""

    chain: str
    chain_id: int
    confirmations: int
    addresses: tuple[str, ...]
    asset: str
    contract: str
    decimals: int
    rate: Decimal

    @property
    def source(self) -> str:
        """The name of the payment source."""
        return f"chain:{self.chain}"


def terms(settings: Settings, *, chain: str, asset: str, currency: str) -> ChainTerms:
    """The terms that the settings name. Raises Invalid: `unknown_chain`, `unknown_asset`, `no_rate`."""
    found = next((one for one in settings.chains if one.name == chain), None)
    if found is None:
        raise Invalid.field("chain", "unknown_chain", f"there is no chain {chain!r} in the settings")
    token = next((one for one in found.assets if one.symbol == asset), None)
    if token is None:
        raise Invalid.field("asset", "unknown_asset", f"{chain} has no asset {asset!r} in the settings")
    if token.contract is None:
        # A transfer of the chain's own coin leaves no log that could be watched.
        raise Invalid.field(
            "asset", "unknown_asset", f"{asset!r} is the chain's own coin: only tokens can be"
        )
    rate = settings.rates.get(asset, {}).get(currency)
    if rate is None:
        raise Invalid.field("asset", "no_rate", f"there is no rate of {asset} in {currency}")
    return ChainTerms(
        chain=found.name,
        chain_id=found.chain_id,
        confirmations=found.confirmations,
        addresses=found.addresses,
        asset=token.symbol,
        contract=token.contract,
        decimals=token.decimals,
        rate=rate,
    )


def allot(
    session: Session,
    *,
    invoice_id: str,
    price: Money,
    terms: ChainTerms,
    expires_at: datetime,
    reserved_until: datetime,
) -> None:
    """Give the invoice an amount of its own at one of the chain's addresses. Raises NoFreeAmount."""
    amounts = grid(price, rate=terms.rate, decimals=terms.decimals)
    parameters = {
        "id": new_id("quo"),
        "invoice_id": invoice_id,
        "chain": terms.chain,
        "chain_id": terms.chain_id,
        "asset": terms.asset,
        "contract": terms.contract.lower(),
        "shown_contract": terms.contract,
        "decimals": terms.decimals,
        "rate": terms.rate,
        "amount_minor": price.amount_minor,
        "confirmations": terms.confirmations,
        "expires_at": expires_at,
        "reserved_until": reserved_until,
    }
    for _ in range(_TRIES):
        if _taken(session, _TAKE_RANDOM, {**parameters, **_random_candidates(amounts, terms.addresses)}):
            return
    everywhere = {
        "addresses": list(terms.addresses),
        "base": amounts.base,
        "step": amounts.step,
        "first": amounts.first,
        "last": amounts.last,
    }
    # Another transaction may take the one that was free: then look again.
    for _ in range(_TRIES):
        if _taken(session, _TAKE_ANY, {**parameters, **everywhere}):
            return
    raise NoFreeAmount


def _taken(session: Session, statement: TextClause, parameters: dict[str, Any]) -> bool:
    return session.execute(statement, parameters).first() is not None


def _random_candidates(amounts: Grid, addresses: Sequence[str]) -> dict[str, Any]:
    # Chosen at random, so that two that open at once hardly ever want the same; nothing secret hangs on it.
    tags = [random.randint(amounts.first, amounts.last) for _ in range(_CANDIDATES)]  # noqa: S311
    return {
        "addresses": [random.choice(addresses) for _ in tags],  # noqa: S311
        "units": [amounts.amount(tag) for tag in tags],
    }
