"""The job `notices` against a real mailbox: at most once, whatever happens to the sender."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import text

from tenure.iterations.crew import Crew
from tenure.kit.db import Database
from tenure.notices import plan_reminders, send_planned
from tenure.notices.ports import Message, Outcome, Refused, Unknown, Unsent
from tenure.providers.notify.email import EmailSender
from tenure.standins.mailbox import MailboxStandIn
from tenure.subscriptions.announce import announce
from tests.support import builders as build
from tests.support.services import ROOT, environment
from tests.support.waiting import until


@pytest.fixture
def mailbox() -> Iterator[MailboxStandIn]:
    with MailboxStandIn() as running:
        yield running


@pytest.fixture
def sender(mailbox: MailboxStandIn) -> Iterator[EmailSender]:
    made = EmailSender(url=mailbox.smtp_url, mail_from="Tenure <tenure@example.test>")
    yield made
    made.close()


def _send(db: Database, *senders) -> dict[str, int]:
    run = build.run(db, "notices")
    send_planned.run(run, {sender.channel: sender for sender in senders})
    return run.counters.as_dict()


def _make_due(db: Database) -> None:
    """Back-off is over."""
    with db.transaction() as session:
        session.execute(
            text("UPDATE notice SET next_at = clock_timestamp() WHERE state IN ('planned', 'unknown')")
        )


def _states(db: Database) -> list[tuple[str, str | None]]:
    return [
        (row.state, row.skipped_reason)
        for row in build.rows(db, "SELECT state, skipped_reason FROM notice ORDER BY id")
    ]


def _confirm(db: Database, subscription_id: str, ref: str = "pay_1") -> None:
    with db.transaction() as session:
        announce(
            session,
            subscription_id=subscription_id,
            kind="payment_confirmed",
            ref=ref,
            data={"amount": {"amount_minor": 999, "currency": "USD"}},
        )


def test_a_payment_is_confirmed_by_exactly_one_mail(db, mailbox, sender):
    build.plan(db, name="Gold\nplan")
    who = build.customer(db, email="alice@example.test", timezone="Europe/Berlin")
    id_ = build.subscription(db, customer_id=who)
    _confirm(db, id_)
    _confirm(db, id_)
    assert _send(db, sender) == {"seen": 1, "done": 1, "skipped": 0, "failed": 0}
    assert _send(db, sender)["seen"] == 0
    [mail] = mailbox.mails
    [row] = build.rows(db, "SELECT * FROM notice")
    headers = {name.lower(): value for name, value in mail["headers"].items()}
    assert headers["x-tenure-notice"] == row.id
    assert headers["x-tenure-kind"] == "payment_confirmed"
    assert "Gold plan" in headers["subject"]
    assert "9.99 USD" in mail["body"]
    assert "(Europe/Berlin)" in mail["body"]
    assert (row.state, row.attempts, row.sent_at is not None) == ("sent", 1, True)
    [event] = build.rows(db, "SELECT data FROM event WHERE type = 'notice.sent'")
    assert event.data["notice_id"] == row.id


def test_a_stage_carries_its_name(db, mailbox, sender):
    build.plan(db, reminders=build.STAGES)
    id_ = build.subscription(db)
    build.advance_to(db, build.moment(db, id_, "period_end") - timedelta(hours=70))
    plan_reminders.run_periods(build.run(db, "reminders"))
    _send(db, sender)
    headers = {name.lower(): value for name, value in mailbox.mails[0]["headers"].items()}
    assert headers["x-tenure-kind"] == "period_ending/d-3"


def test_a_channel_that_is_not_configured_is_skipped_and_says_so(db, sender):
    id_ = build.subscription(
        db, customer_id=build.customer(db, telegram_chat_id="1"), plan_code=build.plan(db)
    )
    _confirm(db, id_)
    _send(db, sender)
    assert sorted(_states(db)) == [("sent", None), ("skipped", "channel_off")]


def test_what_a_renewal_made_untrue_is_skipped_at_its_turn(db, sender, mailbox):
    build.plan(db, reminders=build.STAGES)
    id_ = build.subscription(db)
    build.advance_to(db, build.moment(db, id_, "period_end") - timedelta(hours=70))
    plan_reminders.run_periods(build.run(db, "reminders"))
    build.pay(db, id_)
    assert _send(db, sender)["skipped"] == 1
    assert _states(db) == [("skipped", "renewed")]
    assert mailbox.mails == []


def test_a_reminder_that_could_not_be_sent_in_its_time_is_stale(db, sender, mailbox):
    build.plan(db, reminders=build.STAGES)
    id_ = build.subscription(db)
    build.advance_to(db, build.moment(db, id_, "period_end") - timedelta(hours=70))
    plan_reminders.run_periods(build.run(db, "reminders"))
    build.advance(db, timedelta(hours=50))
    _send(db, sender)
    assert _states(db) == [("skipped", "stale")]


def test_payers_are_told_first(db, mailbox, sender):
    build.plan(db, reminders=build.STAGES)
    ids = [build.subscription(db) for _ in range(3)]
    build.advance_to(db, build.moment(db, ids[-1], "period_end") - timedelta(hours=70))
    plan_reminders.run_periods(build.run(db, "reminders"))
    _confirm(db, ids[0])
    run = build.run(db, "notices")
    crew = Crew(run)
    assert send_planned._send_one(crew, {"email": sender}, send_planned._Health(("email",)))
    headers = {name.lower(): value for name, value in mailbox.mails[0]["headers"].items()}
    assert headers["x-tenure-kind"] == "payment_confirmed"


class _Answering:
    """A sender that answers as told, and counts."""

    def __init__(self, outcome: Outcome, channel: str = "email") -> None:
        self.outcome, self.channel, self.sent = outcome, channel, 0

    def send(self, _message: Message) -> Outcome:
        self.sent += 1
        return self.outcome

    def close(self) -> None:
        """Nothing is kept."""


def test_a_mailbox_that_refuses_connections_leaves_it_planned_and_later_it_is_sent_once(db, mailbox, sender):
    id_ = build.subscription(db)
    _confirm(db, id_)
    down = EmailSender(url="smtp://127.0.0.1:1", mail_from="tenure@example.test")
    assert _send(db, down)["failed"] == 1
    assert _states(db) == [("planned", None)]
    assert _send(db, sender)["seen"] == 0, "back-off"
    _make_due(db)
    assert _send(db, sender)["done"] == 1
    assert len(mailbox.mails) == 1


def test_a_channel_that_is_down_is_not_tried_for_everybody(db):
    build.plan(db)
    for number in range(30):
        _confirm(db, build.subscription(db), f"pay_{number}")
    down = _Answering(Unsent("connect_refused"))
    _send(db, down)
    assert send_planned._GIVE_UP_AFTER <= down.sent <= send_planned._GIVE_UP_AFTER + 4


def test_a_refused_notice_failed_and_a_blocked_chat_is_remembered(db):
    id_ = build.subscription(
        db, customer_id=build.customer(db, email=None, telegram_chat_id="1"), plan_code=build.plan(db)
    )
    _confirm(db, id_)
    _send(db, _Answering(Refused("blocked by the user", "blocked"), "telegram"))
    assert _states(db) == [("failed", None)]
    _confirm(db, id_, "pay_2")
    assert len(_states(db)) == 1, "a blocked channel is no channel that the customer has"


def test_what_was_written_without_an_answer_stays_unknown(db):
    id_ = build.subscription(db)
    with db.transaction() as session:
        announce(session, subscription_id=id_, kind="payment_problem", ref="pay_1")
    silent = _Answering(Unknown("timeout"))
    _send(db, silent)
    _make_due(db)
    _send(db, silent)
    assert (silent.sent, _states(db)) == (1, [("unknown", None)])


def test_a_confirmation_that_is_unknown_is_mailed_again_under_the_same_id(db, mailbox, sender):
    id_ = build.subscription(db)
    _confirm(db, id_)
    _send(db, _Answering(Unknown("cut")))
    assert _states(db) == [("unknown", None)]
    _make_due(db)
    _send(db, sender)
    assert _states(db) == [("sent", None)]
    [row] = build.rows(db, "SELECT id FROM notice")
    headers = {name.lower(): value for name, value in mailbox.mails[0]["headers"].items()}
    assert row.id in headers["message-id"]


_CHILD = """
import sys
from tenure.kit.db import Database
from tenure.iterations.run import Run
from tenure.notices import send_planned
from tenure.notices.ports import Sent
import threading

class Stuck:
    channel = "email"
    def send(self, message):
        sys.stdout.write("sending\\n"); sys.stdout.flush()
        threading.Event().wait()
        return Sent()
    def close(self):
        pass

run = Run(iteration_id=sys.argv[2], job="notices", scope="", db=Database(sys.argv[1], pool_size=2,
          application="child"), soft_s=60, batch=1000)
send_planned.run(run, {"email": Stuck()})
"""


def test_a_sender_killed_in_the_middle_leaves_unknown_and_never_a_double(db, database_url, mailbox, sender):
    id_ = build.subscription(db)
    with db.transaction() as session:
        announce(session, subscription_id=id_, kind="payment_problem", ref="pay_1")
    run = build.run(db, "notices")
    child = subprocess.Popen(
        [sys.executable, "-c", _CHILD, database_url, run.iteration_id],
        cwd=ROOT,
        env={**environment(), "PYTHONPATH": str(ROOT / "platform")},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    try:
        assert child.stdout.readline() == "sending\n"
        assert _states(db) == [("sending", None)]
    finally:
        os.kill(child.pid, signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL
        child.stdout.close()
    with db.transaction() as session:
        session.execute(
            text("""
                UPDATE iteration SET ended_at = clock_timestamp(), outcome = 'killed', ended_by = 'parent'
                WHERE id = :id
            """),
            {"id": run.iteration_id},
        )
    for _ in range(2):
        _make_due(db)
        _send(db, sender)
    assert _states(db) == [("unknown", None)]
    assert mailbox.mails == []
    until(lambda: build.rows(db, "SELECT 1 FROM event WHERE type = 'notice.unknown'"))
