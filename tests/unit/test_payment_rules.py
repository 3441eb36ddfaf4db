"""Exact amounts, what they are worth, and what they settle."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenure.errors import Invalid
from tenure.kit.money import Money, from_units, price_in_units
from tenure.payments.rules import (
    MOST_TAGS,
    InvoiceStatus,
    Odd,
    Settlement,
    confirmations,
    deepest_confirmed,
    expires_at,
    grid,
    invoice_number,
    payment_uri,
    settlement,
    worth,
)

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)

rates = st.decimals(min_value="0.000001", max_value="1000000", places=6)
prices = st.builds(
    Money,
    amount_minor=st.integers(min_value=1, max_value=10**12),
    currency=st.sampled_from(["USD", "EUR", "JPY", "KWD"]),
)


def test_a_stablecoin_of_six_decimals_has_9999_tags_below_one_cent():
    usdc = grid(Money(999, "USD"), rate=Decimal("1.00"), decimals=6)
    assert (usdc.base, usdc.step, usdc.first, usdc.last) == (9_990_000, 1, 1, 9_999)
    assert from_units(usdc.amount(123), 6) == "9.990123"


def test_an_asset_of_eighteen_decimals_is_quoted_with_few_digits():
    dai = grid(Money(999, "USD"), rate=Decimal(1), decimals=18)
    assert dai.step == 10**12
    assert from_units(dai.amount(123), 18) == "9.990123000000000000"


def test_an_asset_too_coarse_for_tags_has_the_bare_price_alone():
    coarse = grid(Money(999, "USD"), rate=Decimal(1), decimals=2)
    assert (coarse.base, coarse.tags, coarse.first) == (999, 1, 0)


def test_a_price_beyond_what_an_asset_can_hold_is_refused():
    with pytest.raises(Invalid):
        grid(Money(10**12, "USD"), rate=Decimal("0.000001"), decimals=77)


@given(price=prices, rate=rates, decimals=st.integers(min_value=0, max_value=24), data=st.data())
def test_every_tagged_amount_covers_the_price_and_exceeds_it_by_less_than_a_minor_unit(
    price, rate, decimals, data
):
    amounts = grid(price, rate=rate, decimals=decimals)
    tag = data.draw(st.integers(min_value=amounts.first, max_value=amounts.last))
    units = amounts.amount(tag)
    assert units >= price_in_units(price, rate=rate, decimals=decimals)
    assert amounts.last <= MOST_TAGS
    value = worth(units, rate=rate, decimals=decimals, currency=price.currency)
    if amounts.first == 1:
        assert value == price.amount_minor
    else:
        assert value >= price.amount_minor


@given(price=prices, rate=rates, decimals=st.integers(min_value=6, max_value=18))
def test_one_unit_less_than_the_base_does_not_cover_the_price(price, rate, decimals):
    amounts = grid(price, rate=rate, decimals=decimals)
    below = amounts.base - amounts.step
    assert below < price_in_units(price, rate=rate, decimals=decimals)


@pytest.mark.parametrize(
    ("received", "before", "status", "odd", "late", "expected"),
    [
        (999, 0, "open", "none", False, Settlement(999, 0, True, Odd.NONE)),
        (500, 0, "open", "none", False, Settlement(500, 0, False, Odd.UNDERPAID)),
        (499, 500, "open", "underpaid", False, Settlement(499, 0, True, Odd.NONE)),
        (600, 500, "open", "underpaid", False, Settlement(499, 101, True, Odd.OVERPAID)),
        (100, 500, "open", "underpaid", False, Settlement(100, 0, False, Odd.UNDERPAID)),
        (1009, 0, "open", "none", False, Settlement(999, 10, True, Odd.OVERPAID)),
        (999, 0, "open", "none", True, Settlement(999, 0, True, Odd.LATE)),
        (999, 0, "expired", "none", True, Settlement(999, 0, True, Odd.LATE)),
        (1009, 0, "expired", "none", True, Settlement(999, 10, True, Odd.LATE)),
        (500, 0, "expired", "none", True, Settlement(0, 500, False, Odd.UNDERPAID)),
        (999, 999, "paid", "none", False, Settlement(0, 999, False, Odd.OVERPAID)),
        (999, 999, "paid", "late", True, Settlement(0, 999, False, Odd.LATE)),
    ],
)
def test_what_a_payment_does_to_its_invoice(received, before, status, odd, late, expected):
    found = settlement(
        received=received,
        amount=999,
        applied_before=before,
        status=InvoiceStatus(status),
        odd=Odd(odd),
        late=late,
    )
    assert found == expected


@given(
    received=st.integers(min_value=0, max_value=10**9),
    amount=st.integers(min_value=1, max_value=10**9),
    before=st.integers(min_value=0, max_value=10**9),
    status=st.sampled_from([InvoiceStatus.OPEN, InvoiceStatus.EXPIRED, InvoiceStatus.PAID]),
    late=st.booleans(),
)
def test_no_money_is_lost_or_made_by_a_settlement(received, amount, before, status, late):
    before = min(before, amount)
    found = settlement(
        received=received, amount=amount, applied_before=before, status=status, odd=Odd.NONE, late=late
    )
    assert found.applied + found.excess == received
    assert before + found.applied <= amount or status is InvoiceStatus.PAID
    assert found.completes == (status is not InvoiceStatus.PAID and before + received >= amount)


def test_the_block_of_a_payment_is_its_first_confirmation():
    assert [confirmations(head, 10) for head in (9, 10, 11, 12)] == [0, 1, 2, 3]
    assert [deepest_confirmed(head, 3) >= 10 for head in (10, 11, 12)] == [False, False, True]


@pytest.mark.parametrize(
    ("grace_in", "open_for"),
    [
        (None, timedelta(hours=24)),
        (timedelta(hours=-3), timedelta(hours=24)),
        (timedelta(hours=72), timedelta(hours=73)),
        (timedelta(days=365), timedelta(days=7)),
    ],
)
def test_an_invoice_outlives_the_access_that_it_would_keep_within_a_day_and_a_week(grace_in, open_for):
    grace_until = None if grace_in is None else NOW + grace_in
    assert expires_at(NOW, grace_until) == NOW + open_for


def test_a_payment_uri_names_contract_chain_receiver_and_exact_amount():
    uri = payment_uri(contract="0xc0", chain_id=31337, address="0xad", units=9_990_123)
    assert uri == "ethereum:0xc0@31337/transfer?address=0xad&uint256=9990123"


def test_invoice_numbers_grow_beyond_six_digits():
    assert [invoice_number(n) for n in (7, 1_000_001)] == ["INV-000007", "INV-1000001"]
