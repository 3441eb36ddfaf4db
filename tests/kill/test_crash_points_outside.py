"""A child killed around its calls to the outside: what was done there, and what the record says of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tenure import wiring
from tenure.audit.record import SYSTEM
from tenure.events.append import NewEvent, append
from tenure.kit.db import Database
from tenure.settings import load
from tenure.standins.mailbox import MailboxStandIn
from tenure.standins.provisioner import ProvisionerStandIn
from tenure.subscriptions.announce import announce
from tenure.webhooks.create_endpoint import create_endpoint
from tests.kill.conftest import crashed, verified
from tests.support import builders as build
from tests.support.money import Shop, simulated_shop
from tests.support.receiver import Receiver
from tests.support.worker import Ledger, worker

pytestmark = pytest.mark.kill

SECRET = "a-secret-of-the-provisioner"
SPEC = (
    "call.claimed@activation,call.answered@activation,call.claimed@notices,call.answered@notices,"
    "call.claimed@webhooks,call.answered@webhooks,"
    "watch.seen@payment_watcher,watch.credited@payment_watcher"
)


@dataclass(frozen=True, slots=True)
class World:
    """A worker that dies at SPEC's points, its ledger, and what is outside."""

    ledger: Ledger
    env: dict[str, str]
    provisioner: ProvisionerStandIn
    mailbox: MailboxStandIn
    shop: Shop

    @property
    def db(self) -> Database:
        return self.ledger.db

    def dies(self, job: str, point: str) -> dict:
        """Run the job: its child dies at the point, and the parent ends the run."""
        slot = self.ledger.run(job, point)
        death = crashed(self.env, point, job)
        end = self.ledger.ended(slot, within=90)
        assert (end["outcome"], end["ended_by"], end["pid"]) == ("killed", "parent", death["pid"])
        return death

    def runs(self, job: str, scope: str) -> dict:
        """Run the job to its good end; its counters."""
        end = self.ledger.ended(self.ledger.run(job, scope), within=90)
        assert end["outcome"] == "ok"
        return end["counters"]


@pytest.fixture(scope="module")
def world(shared_env: dict[str, str]) -> Iterator[World]:
    with ExitStack() as stack:
        db = Database(shared_env["TENURE_DATABASE_URL"], pool_size=3, application="tenure-test")
        stack.callback(db.close)
        provisioner = stack.enter_context(ProvisionerStandIn(secrets=[SECRET]))
        mailbox = stack.enter_context(MailboxStandIn())
        shop = stack.enter_context(simulated_shop(db))
        env = {
            **shared_env,
            "TENURE_CRASH_AT": SPEC,
            "TENURE_PROVISIONER_URL": provisioner.url,
            "TENURE_PROVISIONER_SECRET": SECRET,
            "TENURE_SMTP_URL": mailbox.smtp_url,
            "TENURE_CHAINS": json.dumps([chain.model_dump(mode="json") for chain in shop.settings.chains]),
            "TENURE_RATES": '{"USDC": {"USD": "1.00"}}',
        }
        stack.enter_context(worker(env, Path(env["TENURE_DATA_DIR"]), name="outside"))
        yield World(Ledger(db, env), env, provisioner, mailbox, shop)


def test_an_account_is_switched_once_though_its_caller_died_before_and_after_the_call(world: World) -> None:
    id_ = build.subscription(world.db)
    world.dies("activation", "call.claimed")
    assert world.provisioner.journal == []
    world.dies("activation", "call.answered")
    assert [call["effect"] for call in world.provisioner.journal] == [True]
    assert build.shown(world.db, id_)["provisioning"]["state"] == "pending"
    assert world.runs("activation", "after")["done"] == 1
    assert [call["effect"] for call in world.provisioner.journal] == [True, False]
    assert build.shown(world.db, id_)["provisioning"]["state"] == "in_sync"


def test_a_mail_is_sent_at_most_once_and_its_row_says_that_nobody_knows(world: World) -> None:
    def confirm(ref: str) -> str:
        with world.db.transaction() as session:
            announce(session, subscription_id=id_, kind="payment_confirmed", ref=ref, data={
                "amount": {"amount_minor": 999, "currency": "USD"}})  # fmt: skip
        found: str = build.rows(world.db, "SELECT id FROM notice WHERE ref = :ref", ref=ref)[0].id
        return found

    def state(notice: str) -> str:
        found: str = build.rows(world.db, "SELECT state FROM notice WHERE id = :id", id=notice)[0].state
        return found

    id_ = build.subscription(world.db)
    first = confirm("pay_1")
    world.dies("notices", "call.claimed")
    assert (state(first), len(world.mailbox.mails)) == ("sending", 0)
    second = confirm("pay_2")
    world.dies("notices", "call.answered")
    assert (state(second), len(world.mailbox.mails)) == ("sending", 1)
    world.runs("notices", "after")
    assert (state(first), state(second), len(world.mailbox.mails)) == ("unknown", "unknown", 1)


def test_a_webhook_is_posted_again_under_its_id_when_nobody_wrote_down_that_it_was_taken(
    world: World,
) -> None:
    def happen() -> str:
        with world.db.transaction() as session:
            [id_] = append(session, [NewEvent("invoice.told_here", "subscription:sub_1", (), {"n": 1})])
        build.give_places(world.db)
        return id_

    def delivery(event_id: str) -> tuple[str, int]:
        [row] = build.rows(
            world.db, "SELECT state, attempts FROM webhook_delivery WHERE event_id = :id", id=event_id
        )
        return row.state, row.attempts

    def dies(point: str) -> None:
        """And the lease of what it had claimed, which it must have, outlasts a machine that is slow."""
        world.dies("webhooks", point)
        held = build.rows(
            world.db,
            "UPDATE outbox SET locked_until = locked_until + interval '1 hour'"
            " WHERE locked_until BETWEEN clock_timestamp() AND clock_timestamp() + interval '10 min'"
            " RETURNING id",
        )
        assert len(held) == 1

    with Receiver() as receiver:
        settings = load(world.env)
        deps = wiring.Deps(settings, world.db)
        deps.keys.ring()  # read before the transaction, as a request does
        with world.db.transaction() as session:
            made = create_endpoint(
                session, url=receiver.url, types=["invoice.told_here"], allow_private=True,
                sealer=deps.webhook_sealer, actor=SYSTEM)  # fmt: skip
        first = happen()
        dies("call.claimed")
        assert (delivery(first), receiver.ids) == (("pending", 1), {})
        second = happen()
        dies("call.answered")
        assert (delivery(second), receiver.ids) == (("pending", 1), {second: 1})
        world.runs("webhooks", "too soon")
        assert receiver.ids == {second: 1}  # the dead ones' leases still stand
        build.rows(world.db, "UPDATE outbox SET locked_until = clock_timestamp() RETURNING id")
        assert world.runs("webhooks", "after")["done"] == 2
        assert receiver.ids == {first: 1, second: 2}
        assert [delivery(event) for event in (first, second)] == [("delivered", 2)] * 2
        assert len({request.body for request in receiver.requests}) == len(receiver.ids)
        assert len(receiver.messages(made["secret"])) == sum(receiver.ids.values())
        world.runs("webhooks", "once more")
        assert receiver.ids == {first: 1, second: 2}


def test_a_payment_is_credited_once_though_its_watcher_died_before_and_after_writing(world: World) -> None:
    shop = world.shop
    sub = build.subscription(world.db, status="incomplete")
    invoice = shop.opened(sub)
    shop.pay(invoice)
    shop.chain.mine(3)
    world.dies("payment_watcher", "watch.seen")
    assert shop.payments() == []
    world.dies("payment_watcher", "watch.credited")
    assert [payment["status"] for payment in shop.payments()] == ["seen"]
    assert shop.entries() == []
    assert shop.status(sub) == "incomplete"
    assert world.runs("payment_watcher", "after")["done"] == 1
    world.runs("payment_watcher", "once more")
    assert shop.entries() == [("credit", 999), ("debit", -999)]
    assert [payment["status"] for payment in shop.payments()] == ["confirmed"]
    assert shop.status(sub) == "active"


def test_every_invariant_holds_after_all_this(world: World) -> None:
    verified(world.db)
