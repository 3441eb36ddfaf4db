"""Build the demo world by the product's own verbs. What stands is left alone; twice is as once."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Final
from urllib.parse import urlsplit

from sqlalchemy import text
from sqlalchemy.orm import Session

from tenure.audit.record import Actor
from tenure.customers.create import create as create_customer
from tenure.demo import cast
from tenure.demo.cast import Life, Member, Veteran
from tenure.demo.marks import ASSET, CHAIN, demo_chain, refuse_in_production
from tenure.errors import BrokenRule
from tenure.imports.import_file import ImportOptions, import_file
from tenure.imports.rules import COLUMNS, guarded
from tenure.kit.db import Database
from tenure.kit.times import rfc3339
from tenure.payments.open_invoice import Wanted, open_invoice
from tenure.payments.rules import Method
from tenure.payments.settle import settle
from tenure.plans.create import create as create_plan
from tenure.settings import Settings
from tenure.subscriptions.cancel import cancel
from tenure.subscriptions.pause import pause
from tenure.subscriptions.start import start

DEMO: Final = Actor("demo")
_PLANS: Final = text("SELECT code FROM plan WHERE code = ANY(:codes)")
_CUSTOMERS: Final = text("SELECT external_id FROM customer WHERE external_id = ANY(:ids)")
_NOW: Final = text("SELECT tenure_now()")


@dataclass(frozen=True, slots=True)
class Loaded:
    """How much of the world was made now; zero where it stood."""

    plans: int
    customers: int

    def as_dict(self) -> dict[str, int]:
        return asdict(self)


def load(db: Database, settings: Settings) -> Loaded:
    """The world stands. Each customer is made with all that they did in one transaction.

    Raises Invalid in production.
    """
    refuse_in_production(settings)
    plans = _make_plans(db)
    telegram = has_telegram_stand_in(settings)
    members, veterans = list(cast.members(telegram=telegram)), list(cast.veterans(telegram=telegram))
    everybody = [member.details for member in members] + [veteran.details for veteran in veterans]
    known = _known(db, [details.external_id for details in everybody])
    absent = [one for one in members if one.details.external_id not in known]
    for member in absent:
        with db.transaction() as session:
            _live(session, settings, member)
    returning = [one for one in veterans if one.details.external_id not in known]
    if returning:
        _bring_back(db, returning)
    return Loaded(plans, len(absent) + len(returning))


def has_telegram_stand_in(settings: Settings) -> bool:
    """Whether the bot API is on this machine: made-up chats are never asked for at the real one."""
    return urlsplit(settings.telegram_api_url).hostname in {"127.0.0.1", "localhost", "::1"}


def ways_to_pay(settings: Settings) -> Wanted:
    """On the stand-in's chain, or by hand where there is none."""
    if demo_chain(settings) is None:
        return Wanted(Method.MANUAL)
    return Wanted(Method.CHAIN, chain=CHAIN, asset=ASSET)


def _make_plans(db: Database) -> int:
    with db.transaction() as session:
        known = set(session.scalars(_PLANS, {"codes": list(cast.PLANS)}))
        absent = {code: terms for code, terms in cast.PLANS.items() if code not in known}
        for code, terms in absent.items():
            create_plan(session, code=code, terms=terms, actor=DEMO)
    return len(absent)


def _known(db: Database, ids: Sequence[str]) -> set[str]:
    with db.transaction() as session:
        return set(session.scalars(_CUSTOMERS, {"ids": list(ids)}))


def _live(session: Session, settings: Settings, member: Member) -> None:
    customer = create_customer(session, member.details, actor=DEMO)
    trial = member.life is Life.TRIES
    id_ = start(session, customer_id=customer["id"], plan_code=member.plan, trial=trial, actor=DEMO)
    match member.life:
        case Life.TRIES | Life.LOOKS:
            return
        case Life.ASKED:
            open_invoice(session, settings, subscription_id=id_, wanted=ways_to_pay(settings), actor=DEMO)
            return
        case _:
            _pay(session, settings, id_)
    match member.life:
        case Life.PAUSED:
            pause(session, id_, actor=DEMO)
        case Life.LEFT | Life.LEAVES:
            cancel(session, id_, at_period_end=member.life is Life.LEAVES, actor=DEMO)


def _pay(session: Session, settings: Settings, subscription_id: str) -> None:
    wanted = Wanted(Method.MANUAL)
    opened = open_invoice(session, settings, subscription_id=subscription_id, wanted=wanted, actor=DEMO)
    settle(session, opened.invoice_id, reason="paid in cash at the demo's counter", actor=DEMO)


def _bring_back(db: Database, veterans: Sequence[Veteran]) -> None:
    """Customers with a history come by the import, as those of another system would."""
    with db.transaction() as session:
        now = session.execute(_NOW).scalar_one().replace(microsecond=0)
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(COLUMNS)
    for one in veterans:
        cells = (
            one.details.external_id,
            one.details.email or "",
            one.details.telegram_chat_id or "",
            one.plan,
            one.status,
            rfc3339(now + one.began) or "",
            rfc3339(now + one.ends) or "",
            "",
        )
        writer.writerow([guarded(cell) for cell in cells])
    content = io.BytesIO(file.getvalue().encode())
    report = import_file(db, content, name="demo.csv", options=ImportOptions(), actor=DEMO)
    if report.errors:
        raise BrokenRule(f"the demo's own file: {report.errors[0].message}")
