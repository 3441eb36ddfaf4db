"""Who is in the demo world: three plans and fifty customers, the same each time."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final

from tenure.customers.rules import Details
from tenure.demo.marks import EMAIL_DOMAIN, ID_PREFIX
from tenure.plans.rules import Stage, Terms

_SEED: Final = 20_260
_EVERYWHERE: Final = ("email", "telegram")
_FIRST_CHAT: Final = 900_000_000
_ZONES: Final = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Tokyo", "America/Sao_Paulo")
_NAMES: Final = (
    "ada", "bo", "chidi", "dana", "emre", "fatima", "goran", "hana", "ines", "jonas", "kemi", "lea", "mateo",
    "nora", "omar", "priya", "quinn", "rosa", "sven", "tariq", "uma", "vera", "wen", "ximena", "yara", "zoe",
)  # fmt: skip

PRO: Final = f"{ID_PREFIX}pro-monthly"
TEAM: Final = f"{ID_PREFIX}team-yearly"
MEDIA: Final = f"{ID_PREFIX}media-weekly"

PLANS: Final = {
    PRO: Terms(
        name="Pro, monthly (demo)",
        price_minor=1900,
        currency="USD",
        interval_unit="month",
        interval_count=1,
        trial_days=14,
        grace_hours=72,
        reminders=(
            Stage("d-3", -72, ("email",)),
            Stage("d-1", -24, _EVERYWHERE),
            Stage("d+1", 24, _EVERYWHERE),
        ),
        auto_renew=True,
    ),
    TEAM: Terms(
        name="Team, yearly (demo)",
        price_minor=19_000,
        currency="USD",
        interval_unit="year",
        interval_count=1,
        trial_days=30,
        grace_hours=168,
        reminders=(Stage("d-30", -720, ("email",)), Stage("d-7", -168, _EVERYWHERE)),
        auto_renew=True,
    ),
    MEDIA: Terms(
        name="Media, weekly (demo)",
        price_minor=499,
        currency="USD",
        interval_unit="week",
        interval_count=1,
        trial_days=3,
        grace_hours=24,
        reminders=(
            Stage("d-1", -24, ("email",)),
            Stage("h-2", -2, _EVERYWHERE),
            Stage("h+6", 6, _EVERYWHERE),
        ),
    ),
}


class Life(StrEnum):
    """What a customer of the cast has done."""

    TRIES = "tries"  # in the trial
    LOOKS = "looks"  # never paid
    ASKED = "asked"  # has an open invoice on the chain
    PAYS = "pays"
    PAUSED = "paused"
    LEFT = "left"
    LEAVES = "leaves"  # will be canceled at the period's end


@dataclass(frozen=True, slots=True)
class Member:
    """One customer whose story begins now."""

    details: Details
    plan: str
    life: Life


@dataclass(frozen=True, slots=True)
class Veteran:
    """One customer who comes with a history: the current period by its distance from now."""

    details: Details
    plan: str
    status: str
    began: timedelta
    ends: timedelta


_LIVES: Final = (
    (Life.TRIES, 8),
    (Life.LOOKS, 2),
    (Life.ASKED, 4),
    (Life.PAYS, 16),
    (Life.PAUSED, 3),
    (Life.LEFT, 3),
    (Life.LEAVES, 2),
)
# Ends that come while one watches, and states that only time brings about.
_HISTORIES: Final = (
    (PRO, "active", timedelta(days=30), timedelta(minutes=3)),
    (MEDIA, "active", timedelta(days=7), timedelta(minutes=8)),
    (MEDIA, "active", timedelta(days=6, hours=22), timedelta(hours=2, minutes=1)),
    (PRO, "active", timedelta(days=28), timedelta(days=2, hours=23, minutes=55)),
    (TEAM, "active", timedelta(days=358), timedelta(days=6, hours=23, minutes=50)),
    (PRO, "past_due", timedelta(days=31), timedelta(hours=-23)),
    (TEAM, "past_due", timedelta(days=367), timedelta(days=-2)),
    (MEDIA, "past_due", timedelta(days=8), timedelta(hours=-5, minutes=-58)),
    (PRO, "expired", timedelta(days=45), timedelta(days=-14)),
    (TEAM, "expired", timedelta(days=400), timedelta(days=-35)),
    (MEDIA, "canceled", timedelta(days=20), timedelta(days=-13)),
    (MEDIA, "trialing", timedelta(days=2, hours=23), timedelta(minutes=5)),
)


def members(*, telegram: bool) -> Iterator[Member]:
    """The 38 whose story begins now."""
    dice = random.Random(_SEED)  # noqa: S311 - a story, not a secret
    number = 0
    for life, count in _LIVES:
        for _ in range(count):
            number += 1
            plan = dice.choice((PRO, PRO, TEAM, MEDIA))
            yield Member(person(number, telegram=telegram), plan, life)


def veterans(*, telegram: bool) -> Iterator[Veteran]:
    """The 12 who come with a history."""
    first = sum(count for _, count in _LIVES) + 1
    for number, (plan, status, began, ends) in enumerate(_HISTORIES, start=first):
        yield Veteran(person(number, telegram=telegram), plan, status, -began, ends)


def person(number: int, *, telegram: bool, kind: str = "") -> Details:
    """The customer of this number; every third has a chat at the stand-in."""
    name = _NAMES[number % len(_NAMES)]
    return Details(
        external_id=f"{ID_PREFIX}{kind}{number:03d}",
        email=f"{name}.{kind}{number:03d}@{EMAIL_DOMAIN}",
        telegram_chat_id=str(_FIRST_CHAT + number) if telegram and number % 3 == 0 else None,
        timezone="UTC" if kind else _ZONES[number % len(_ZONES)],
    )
