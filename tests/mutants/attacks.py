"""What is done to a build, the same for the sound and the broken one, and what is found afterwards.

An attack returns the invariants that do not hold, by id, with what was seen: those of `tenure verify`, and
those that only the outside knows of (what the bank, the mailbox and the listeners were told).
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import psycopg
from sqlalchemy import text

from tenure.audit.record import SYSTEM
from tenure.events import order
from tenure.events.append import NewEvent, append
from tenure.kit import clock, signing
from tenure.kit.db import Database
from tenure.payments.open_invoice import open_invoice
from tenure.standins.mailbox import MailboxStandIn
from tenure.subscriptions.start import start
from tenure.verify.run import verify
from tests.mutants.builds import Build
from tests.support import builders, money, web
from tests.support.waiting import until
from tests.support.worker import Ledger, Process, environment, process, worker

SEED = 20_261
Findings = dict[str, str]

PROVIDERS = json.dumps([{"name": "bank", "kind": "hmac", "secret": money.SECRET}])
# What is killed shall be killed by us, and not by its limit.
PATIENT = '{"sleep": {"soft_s": 60, "hard_s": 90}}'
# As long as a sound build may take on a loaded machine; it is quicker, and a broken one never gets there.
HEAL_S = 60.0
HOPELESS_S = 8.0


@dataclass(slots=True)
class Field:
    """Where an attack takes place: a build, its own database and broker, and a folder for the logs."""

    build: Build
    folder: Path
    db: Database
    env: dict[str, str]
    dice: random.Random = field(default_factory=lambda: random.Random(SEED))

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.db, self.env)

    @property
    def patience_s(self) -> float:
        return HEAL_S if self.build.mutant is None else HOPELESS_S

    @contextlib.contextmanager
    def worker(self, name: str = "worker") -> Iterator[Process]:
        with worker(self.env, self.folder, name=name, root=self.build.root) as running:
            yield running

    def logs(self) -> str:
        return "".join(file.read_text(errors="replace") for file in sorted(self.folder.glob("*.log")))

    def heals(self, condition: Any) -> None:
        """Wait for the condition as long as there is hope; the checks find what is then still wrong."""
        with contextlib.suppress(AssertionError):
            until(condition, self.patience_s)

    def scalar(self, sql: str) -> Any:
        with self.db.transaction() as session:
            return session.execute(text(sql)).scalar_one()

    def verdicts(self) -> Findings:
        """What `tenure verify` finds."""
        return {
            verdict.id: f"{verdict.violated} of {verdict.checked}: {verdict.title}"
            for verdict in verify(self.db)
            if verdict.violated
        }


@contextlib.contextmanager
def a_field(build: Build, folder: Path, *, database_url: str, broker_url: str) -> Iterator[Field]:
    settings = {"TENURE_PAYMENT_PROVIDERS": PROVIDERS, "TENURE_JOBS": PATIENT}
    env = {**environment(database_url, broker_url, folder, **settings), **build.env}
    with closing(Database(database_url, pool_size=9, application="tenure-test")) as db:
        yield Field(build, folder, db, env)


def tell_twice(given: Field) -> Findings:
    """A bank tells of each payment three times: one message twice at once, and again under another id."""
    db = given.db
    builders.plan(db)
    invoices = [_invoice(given) for _ in range(8)]
    bank = {f"ref-{number}": id_ for number, id_ in enumerate(invoices)}
    letters = [(f"msg-{ref}-{n}", ref, id_) for ref, id_ in bank.items() for n in (1, 1, 2)]
    given.dice.shuffle(letters)
    env = {name: value for name, value in given.env.items() if name.startswith(("TENURE_PAY", "PYTHON"))}
    with (
        web.running(
            given.folder,
            database_url=given.env["TENURE_DATABASE_URL"],
            broker_url=given.env["TENURE_BROKER_URL"],
            live_url=given.env["TENURE_LIVE_URL"],
            root=given.build.root,
            **env,
        ) as door,
        ThreadPoolExecutor(4) as posts,
    ):
        statuses = list(posts.map(lambda letter: _post(door, *letter), letters))
    assert set(statuses) == {200}, statuses
    with given.worker():
        end = given.ledger.ended(given.ledger.run("payment_watcher"), within=120)
        assert end["outcome"] == "ok", end
    findings = given.verdicts()
    credited = Counter(
        row.provider_ref
        for row in builders.rows(
            db,
            "SELECT p.provider_ref FROM ledger_entry l JOIN payment p ON p.id = l.payment_id "
            "WHERE l.kind = 'credit'",
        )
    )
    wrong = {ref: credited[ref] for ref in bank if credited[ref] != 1}
    if wrong:
        findings["I1"] = f"credits by the bank's reference: {wrong}"
    return findings


def _invoice(given: Field) -> str:
    customer = builders.customer(given.db)
    with given.db.transaction() as session:
        id_ = start(session, customer_id=customer, plan_code="basic", trial=False, actor=SYSTEM)
    with given.db.transaction() as session:
        return open_invoice(
            session,
            money.settings("http://127.0.0.1:9"),
            subscription_id=id_,
            wanted=money.PROVIDER,
            actor=SYSTEM,
        ).invoice_id


def _post(door: web.Web, message_id: str, ref: str, invoice_id: str) -> int:
    told = {"type": "payment.confirmed", "invoice_id": invoice_id, "provider_ref": ref}
    body = json.dumps({**told, "amount_minor": 999, "currency": "USD"}).encode()
    headers = signing.signed_headers(
        [money.SECRET], message_id=message_id, timestamp=clock.unix_seconds(), body=body
    )
    sent = {**headers, "Content-Type": "application/json"}
    return door.call("POST", "/hooks/payments/bank", role=None, body=body, headers=sent).status


def kill_everything(given: Field) -> Findings:
    """Children die by their own hand and by ours, then the whole node with what runs on it."""
    scopes = [f"{verb}:{number}" for number, verb in enumerate(("kill", "exit", "ok", "kill", "ok"))]
    given.dice.shuffle(scopes)
    ledger = given.ledger
    with given.worker("first") as first:
        for scope in scopes:
            ledger.run("sleep", "ok:0" if scope.startswith("ok") else scope)
        shot = ledger.started(ledger.run("sleep", "ok:45"), within=120)
        os.kill(shot["pid"], signal.SIGKILL)
        # Its END is the parent's: the node dies when that is written, if it ever is.
        given.heals(lambda: given.scalar(_OPEN_SHOT) == 0)
        doomed = ledger.started(ledger.run("sleep", "ok:40"), within=120)
        family = [psutil.Process(first.pid), *psutil.Process(first.pid).children(recursive=True)]
        assert doomed["pid"] in {member.pid for member in family}
        for member in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.kill()
        first.popen.wait(60)
        until(lambda: not any(_lives(one["pid"]) for one in (shot, doomed)), what="the fault happened")
    with given.worker("second"):
        given.heals(lambda: given.scalar("SELECT count(*) FROM iteration WHERE ended_at IS NULL") == 0)
    # Everybody who could write an END has gone in order.
    findings = given.verdicts()
    runs = builders.rows(given.db, "SELECT id, scope, ended_at, ended_by FROM iteration ORDER BY id")
    left = [run for run in runs if run.ended_at is None]
    if given.build.mutant is None:
        writers = {run.scope: run.ended_by for run in runs}
        assert (writers["ok:45"], writers["ok:40"]) == ("parent", "reaper")
    if left:
        findings["I6"] = f"START without END: {[(row.id, row.scope) for row in left]}"
    return findings


_OPEN_SHOT = "SELECT count(*) FROM iteration WHERE scope = 'ok:45' AND ended_at IS NULL"


def _lives(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def commit_out_of_order(given: Field) -> Findings:
    """Eight writers whose transactions stay open for a while after their events were written."""
    acknowledged: list[str] = []
    waits = [given.dice.uniform(0, 0.02) for _ in range(400)]
    pause = threading.Event()

    def write(number: int) -> None:
        news = NewEvent("customer.changed", f"customer:{number}", ("system",), {"number": number})
        with given.db.transaction() as session:
            ids = append(session, [news])
            pause.wait(waits[number])
        acknowledged.extend(ids)

    relay = process(["tenure", "relay"], log=given.folder / "relay.log", env=given.env, root=given.build.root)
    with relay:
        _tell_one(given)
        until(lambda: given.scalar("SELECT count(*) FROM event_seq") > 0, 60, what="the relay works")
        acknowledged.extend(_overtaken(given))
        with ThreadPoolExecutor(8) as writers:
            list(writers.map(write, range(len(waits))))
        _tell_one(given)
        given.heals(lambda: given.scalar(_UNPLACED) == 0)
    findings = given.verdicts()
    with given.db.transaction() as session:
        told = [event.id for event in order.after(session, 0, limit=10_000)]
    missed = set(acknowledged) - set(told)
    if missed or len(told) != len(set(told)):
        findings["I9"] = f"{len(missed)} of {len(acknowledged)} events were never told to a follower"
    return findings


_UNPLACED = "SELECT (SELECT count(*) FROM event) - (SELECT count(*) FROM event_seq)"


def _overtaken(given: Field) -> list[str]:
    """The ids of what surely commits after its successor has its place, however the machine stalls."""
    written, passed = threading.Event(), threading.Event()

    def write() -> list[str]:
        with given.db.transaction() as session:
            session.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
            ids = append(session, [NewEvent("customer.changed", "customer:late", ("system",))])
            written.set()
            passed.wait(120)
        return ids

    with ThreadPoolExecutor(1) as writer:
        late = writer.submit(write)
        try:
            until(written.is_set, what="it is written and not committed")
            _tell_one(given)
            until(lambda: given.scalar(_UNPLACED) == 0, what="the relay has gone past it")
        finally:
            passed.set()
        return late.result()


def _tell_one(given: Field) -> None:
    with given.db.transaction() as session:
        append(session, [NewEvent("customer.changed", "customer:0", ("system",))])


class DeadlyMailbox(MailboxStandIn):
    """Takes a mail, and at some of them kills the sender before it can hear that it was taken."""

    def __init__(self, database_url: str, deadly: set[int]) -> None:
        """`deadly`: at which mails, counted from 1."""
        super().__init__()
        self.killed: list[int] = []
        self._database_url = database_url
        self._deadly = deadly
        self._taken = 0

    def store(self, raw: bytes, mail_from: str, to: list[str]) -> None:
        super().store(raw, mail_from, to)
        self._taken += 1
        if self._taken in self._deadly:
            with psycopg.connect(self._database_url) as connection:
                (pid,) = connection.execute(
                    "SELECT pid FROM iteration WHERE job = 'notices' AND ended_at IS NULL"
                ).fetchone() or (None,)
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            self.killed.append(pid)


def kill_after_delivery(given: Field) -> Findings:
    """The sender of notices dies twice between the mailbox's yes and its own mark."""
    builders.plan(given.db)
    deadly = {given.dice.randint(2, 4), given.dice.randint(9, 11)}
    for _ in range(20):
        customer = builders.customer(given.db)
        with given.db.transaction() as session:
            start(session, customer_id=customer, plan_code="basic", trial=True, actor=SYSTEM)
    outcomes: list[str] = []
    with DeadlyMailbox(given.env["TENURE_DATABASE_URL"], deadly) as mailbox:
        given.env["TENURE_SMTP_URL"] = mailbox.smtp_url
        with given.worker():
            while outcomes.count("ok") < 2:
                outcomes.append(given.ledger.ended(given.ledger.run("notices"), within=120)["outcome"])
    assert len(mailbox.killed) == outcomes.count("killed") == len(deadly), outcomes
    findings = given.verdicts()
    delivered = Counter(mail["headers"]["X-Tenure-Notice"] for mail in mailbox.mails)
    twice = {notice: count for notice, count in delivered.items() if count > 1}
    if twice:
        findings["I3"] = f"mails by notice: {twice}"
    return findings
