"""Whether a planned notice is still true at its turn, and what it says."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tenure.notices.rules import Standing, skip_reason
from tenure.notices.templates import Subject, written

NOW = datetime(2026, 3, 28, 12, tzinfo=UTC)
REMINDER = Standing(
    kind="period_ending",
    stage="d-3",
    ref="1",
    current_ref="1",
    status="active",
    paid_periods=0,
    now=NOW,
    not_after=NOW + timedelta(hours=1),
    address="someone@example.test",
    blocked=False,
)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, None),
        ({"not_after": NOW}, "stale"),
        ({"current_ref": "2"}, "renewed"),
        ({"status": "canceled"}, "ended"),
        ({"status": "past_due"}, "ended"),
        ({"kind": "past_due", "status": "active"}, "renewed"),
        ({"kind": "past_due", "status": "past_due"}, None),
        ({"kind": "trial_ending", "status": "trialing"}, None),
        ({"kind": "trial_ending", "status": "trialing", "paid_periods": 1}, "renewed"),
        ({"kind": "expired", "stage": "", "status": "expired"}, None),
        ({"kind": "expired", "stage": "", "status": "active", "current_ref": "2"}, "renewed"),
        ({"kind": "trial_started", "stage": "", "status": "trialing", "current_ref": "0.1"}, None),
        ({"kind": "period_ending", "stage": "", "ref": "inv_1"}, None),
        ({"kind": "payment_confirmed", "stage": "", "ref": "pay_1", "status": "canceled"}, None),
        ({"kind": "payment_confirmed", "stage": "", "not_after": None, "address": None}, "no_address"),
        ({"kind": "payment_confirmed", "stage": "", "blocked": True}, "blocked"),
    ],
)
def test_what_is_not_true_any_more_is_not_sent(change, expected):
    assert skip_reason(replace(REMINDER, **change)) == expected


@pytest.mark.parametrize(
    "kind",
    [
        "trial_started",
        "trial_ending",
        "period_ending",
        "past_due",
        "expired",
        "payment_confirmed",
        "payment_problem",
    ],
)
def test_every_kind_is_written_with_the_plans_name_on_one_line(kind):
    about = Subject(
        kind=kind,
        plan={"name": "Gold\r\nBcc: x@example.test", "price": {"amount_minor": 999, "currency": "USD"}},
        timezone="Europe/Berlin",
        period_end=NOW,
        grace_until=NOW,
        is_trial=False,
        cancel_at_period_end=False,
        data={},
    )
    text = written(about)
    assert "Gold Bcc:" in text.subject
    assert "\n" not in text.subject
    assert text.body.endswith("\n")
