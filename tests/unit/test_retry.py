"""Back-off and Retry-After."""

from datetime import UTC, datetime

import pytest

from tenure.kit.retry import Backoff, retry_after_s

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def test_pauses_double_up_to_the_cap_and_keep_half_as_jitter():
    backoff = Backoff(first_s=2, cap_s=60)
    assert [backoff.ceiling_s(n) for n in (0, 1, 2, 3, 5, 6, 7, 10_000)] == [2, 2, 4, 8, 32, 60, 60, 60]
    assert backoff.delay_s(3, uniform=lambda low, _high: low) == 4
    assert backoff.delay_s(3, uniform=lambda _low, high: high) == 8


def test_the_other_sides_wish_is_never_undercut():
    assert Backoff(first_s=1, cap_s=60).delay_s(1, at_least_s=30) == 30


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ("7", 7),
        (" 0 ", 0),
        ("99999999999999", 86_400),
        ("Sun, 01 Mar 2026 12:00:30 GMT", 30),
        ("Sun, 01 Mar 2026 11:00:00 GMT", 0),
        ("-5", None),
        ("1e3", None),
        ("soon", None),
        ("", None),
        ("\u0667", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_date_and_otherwise_ignored(value, expected):
    assert retry_after_s(value, now=NOW) == expected
