"""The invariants: what the product itself makes breaks none; what is broken by hand is found by its own."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from tenure.audit.record import SYSTEM
from tenure.embedded.postgres import Postgres
from tenure.events import order
from tenure.iterations import ledger, slots
from tenure.iterations.catalog import catalog
from tenure.iterations.ledger import Caller, EndedBy, Outcome
from tenure.iterations.node import Node
from tenure.iterations.run import Run
from tenure.kit.db import Database, StatementDoor
from tenure.kit.http import HttpDoor
from tenure.kit.ids import new_id
from tenure.notices import send_planned
from tenure.payments import renew, settle, watch
from tenure.providers.provisioner import HttpProvisioner
from tenure.provisioning import reconcile
from tenure.settings import Settings
from tenure.standins.provisioner import ProvisionerStandIn
from tenure.subscriptions import expire_due
from tenure.subscriptions.cancel import cancel
from tenure.subscriptions.pause import pause
from tenure.subscriptions.start import start
from tenure.verify import run as verify_run
from tenure.verify.invariant import Verdict
from tenure.verify.run import INVARIANTS, verify
from tenure.webhooks import deliver
from tenure.webhooks.create_endpoint import create_endpoint
from tenure.wiring import Deps
from tests.support import builders as build
from tests.support import services
from tests.support.money import MANUAL, PROVIDER, Shop, simulated_shop
from tests.support.receiver import Receiver
from tests.support.waiting import until

SECRET = "a-secret-of-the-provisioner"
KEY = "a key for tests that is long enough"

Work = Callable[[Run], None]


@dataclass(slots=True)
class Crew:
    """Runs jobs as a worker does: slot, START, the body, END."""

    db: Database
    door: StatementDoor
    node: Node

    def slot(self, job: str) -> str:
        with self.db.transaction() as session:
            return slots.request_run(session, catalog(Settings())[job]).slot_id

    def start(self, slot_id: str, owner: str) -> ledger.Started:
        caller = Caller(owner=owner, node_id=self.node.id, worker="w", pid=1)
        started = ledger.start(self.door, slot_id=slot_id, attempt=1, caller=caller, deadline_s=60)
        assert started is not None
        return started

    def end(self, owner: str) -> None:
        assert ledger.end(self.door, owner=owner, outcome=Outcome.OK, ended_by=EndedBy.CHILD) is not None

    def do(self, job: str, work: Work) -> Run:
        owner = new_id("own")
        started = self.start(self.slot(job), owner)
        run = Run(iteration_id=started.iteration_id, job=job, scope="", db=self.db, soft_s=60, batch=1000)
        work(run)
        self.end(owner)
        return run


@contextmanager
def a_crew(url: str) -> Iterator[Crew]:
    node = Node(role="worker", name="w", database_url=url, lease_s=60)
    node.register()
    with (
        closing(Database(url, pool_size=4, application="tenure-test")) as db,
        closing(StatementDoor(url, application="tenure-test")) as door,
    ):
        yield Crew(db, door, node)
    node.stop()


def _subscription(db: Database, *, trial: bool = False) -> str:
    with db.transaction() as session:
        return start(session, customer_id=_customer(db), plan_code="basic", trial=trial, actor=SYSTEM)


_customers: list[str] = []


def _customer(db: Database) -> str:
    return _customers.pop()


def _settled(shop: Shop) -> str:
    id_ = _subscription(shop.db)
    opened = shop.open(id_, MANUAL)
    with shop.db.transaction() as session:
        settle.settle(session, opened.invoice_id, reason="cash", actor=SYSTEM)
    return id_


def _give_places(db: Database) -> None:
    with db.transaction() as session:
        assert order.lead(session, holder="test", lease_s=60)
        order.number_pending(session, limit=100_000)


def _live_a_life(
    crew: Crew, shop: Shop, provisioner: HttpProvisioner, deps: Deps, receiver: Receiver
) -> None:
    db = crew.db
    build.plan(db)
    _customers[:] = [build.customer(db) for _ in range(10)]
    deps.keys.ring()  # read before the transaction, as a request does
    with db.transaction() as session:
        create_endpoint(
            session,
            url=receiver.url,
            types=["*"],
            allow_private=True,
            sealer=deps.webhook_sealer,
            actor=SYSTEM,
        )

    def watch_chain(run: Run) -> None:
        watch.run(run, shop.settings, shop.readers)

    _settled(shop)
    _subscription(db, trial=True)
    crew.do("activation", lambda run: reconcile.run(run, provisioner))
    shop.advance(timedelta(days=60))
    crew.do("expiry", expire_due.run)
    crew.do("expiry", expire_due.run)

    canceled, paused = _settled(shop), _settled(shop)
    with db.transaction() as session:
        cancel(session, canceled, at_period_end=False, actor=SYSTEM)
        pause(session, paused, actor=SYSTEM)
    _settled(shop)
    _subscription(db, trial=True)

    told = shop.open(_subscription(db), PROVIDER)
    amount = shop.invoice(told.invoice_id)["amount"]["amount_minor"]
    shop.deliver("msg_1", invoice_id=told.invoice_id, provider_ref="r1", amount_minor=amount)
    shop.deliver("msg_2", invoice_id=told.invoice_id, provider_ref="r2", amount_minor=5)
    crew.do("payment_watcher", watch_chain)  # from here on the chain is followed

    paid = shop.opened(_subscription(db))
    shop.pay(paid)
    shop.pay(paid, units=17)  # nobody's amount: in suspense
    shop.chain.mine(5)
    crew.do("payment_watcher", watch_chain)
    in_flight = shop.opened(_subscription(db))
    shop.pay(in_flight)
    crew.do("payment_watcher", watch_chain)
    crew.do("auto_renewal", lambda run: renew.run(run, shop.settings))
    crew.do("activation", lambda run: reconcile.run(run, provisioner))
    crew.do("notices", lambda run: send_planned.run(run, {}))
    busy, late = crew.slot("canary"), crew.slot("canary")
    crew.start(busy, "busy")
    assert crew.start(late, "late").state == "skipped"
    crew.end("busy")
    _give_places(db)
    crew.do("webhooks", lambda run: deliver.run(run, deps.post_webhook, deps.webhook_sealer))
    _give_places(db)


@pytest.fixture(scope="module")
def world(
    postgres: Postgres, template_database: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The name of a database with a little of everything, to make others from."""
    with services.fresh_database(postgres, template=template_database) as url:
        given = {
            "database_url": url,
            "secret_key": KEY,
            "data_dir": tmp_path_factory.mktemp("data"),
            "allow_private_urls": True,
        }
        with (
            a_crew(url) as crew,
            simulated_shop(crew.db, confirmations=3) as shop,
            ProvisionerStandIn(secrets=[SECRET]) as service,
            Receiver() as receiver,
            closing(HttpDoor(allow_private=True)) as door,
        ):
            deps = Deps(Settings.model_validate(given), crew.db)
            _live_a_life(crew, shop, HttpProvisioner(door, url=service.url, secrets=[SECRET]), deps, receiver)
            deps.guarded_door.close()
        yield url.rsplit("/", 1)[-1].split("?")[0]


@pytest.fixture
def url(postgres: Postgres, world: str) -> Iterator[str]:
    """The URL of a copy of the world that is this test's alone."""
    with services.fresh_database(postgres, template=world) as url:
        yield url


def found(url: str) -> list[Verdict]:
    with closing(Database(url, pool_size=1, application="tenure-test")) as db:
        return list(verify(db))


def violated(url: str) -> dict[str, Verdict]:
    return {verdict.id: verdict for verdict in found(url) if verdict.violated}


def test_a_world_made_by_the_products_own_verbs_breaks_nothing(url):
    verdicts = found(url)
    assert [verdict for verdict in verdicts if verdict.violated] == []
    # Nothing to look at would be no proof.
    may_be_none = {"I3b", "I6c", "I10"}
    assert [one.id for one in verdicts if one.checked == 0 and one.id not in may_be_none] == []


# The server of a test is younger than the patience that a restarted server is given.
OLD_SERVER = """
    CREATE FUNCTION public.pg_postmaster_start_time() RETURNS timestamptz LANGUAGE sql
        AS $$ SELECT now() - interval '1 day' $$;
    DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = public, pg_catalog',
                               current_database()); END $$
"""
AN_ITERATION = "SELECT id FROM iteration WHERE job = 'auto_renewal' LIMIT 1"
A_LIVE_ONE = """
    SELECT s.id FROM subscription s JOIN provisioning p ON p.subscription_id = s.id
    WHERE s.status = 'active' AND s.holds = 0 AND s.payable_until IS NULL AND p.state = 'in_sync' LIMIT 1
"""
# Invariant; what is broken (its id is `%(id)s` in what follows, and is among the samples); how.
BROKEN = [
    (
        "I1",
        "SELECT payment_id FROM ledger_entry WHERE kind = 'credit' LIMIT 1",
        """UPDATE ledger_entry SET amount_minor = amount_minor + 1
           WHERE payment_id = %(id)s AND kind = 'credit'""",
    ),
    (
        "I1",
        "SELECT payment_id FROM ledger_entry WHERE kind = 'credit' LIMIT 1",
        "ALTER TABLE ledger_entry DROP CONSTRAINT uq_ledger_entry_payment_id_kind",
        """INSERT INTO ledger_entry (id, customer_id, payment_id, kind, amount_minor, currency)
           SELECT 'led_twice', customer_id, payment_id, kind, amount_minor, currency FROM ledger_entry
           WHERE payment_id = %(id)s AND kind = 'credit'""",
    ),
    (
        "I1b",
        "SELECT id FROM payment WHERE chain IS NOT NULL ORDER BY id LIMIT 1",
        "ALTER TABLE payment DROP CONSTRAINT uq_payment_chain_tx_hash_ordinal",
        """INSERT INTO payment (id, chain, tx_hash, ordinal, amount_units, seen_at)
           SELECT 'pay_twice', chain, tx_hash, ordinal, amount_units, seen_at FROM payment
           WHERE id = %(id)s""",
    ),
    (
        "I1c",
        "SELECT id FROM invoice WHERE status = 'paid' LIMIT 1",
        "UPDATE invoice SET paid_minor = paid_minor + 1 WHERE id = %(id)s",
    ),
    (
        "I1d",
        "SELECT customer_id FROM ledger_entry LIMIT 1",
        """INSERT INTO ledger_entry (id, customer_id, kind, amount_minor, currency)
           VALUES ('led_too_much', %(id)s, 'adjustment', -1000000, 'USD')""",
    ),
    (
        "I2",
        "SELECT id FROM invoice WHERE status = 'paid' LIMIT 1",
        """UPDATE event SET data = data - 'invoice_id'
           WHERE type = 'subscription.activated' AND data->>'invoice_id' = %(id)s""",
    ),
    (
        "I3",
        "SELECT id FROM notice ORDER BY id LIMIT 1",
        "ALTER TABLE notice DROP CONSTRAINT uq_notice_once",
        """INSERT INTO notice (id, subscription_id, kind, stage, ref, channel, state, sent_at)
           SELECT 'ntc_twice', subscription_id, kind, stage, ref, channel, 'sent', now() FROM notice
           WHERE id = %(id)s""",
    ),
    (
        "I3b",
        "SELECT id FROM notice LIMIT 1",
        """UPDATE notice SET state = 'sending', skipped_reason = NULL, sent_at = NULL, sent_by = 'itr_gone'
           WHERE id = %(id)s""",
    ),
    (
        "I4",
        "SELECT id FROM subscription WHERE status = 'expired' LIMIT 1",
        "UPDATE subscription SET ended_at = access_until - interval '1 hour' WHERE id = %(id)s",
    ),
    (
        "I4b",
        "SELECT subscription_id FROM hold LIMIT 1",
        "UPDATE subscription SET holds = holds + 1 WHERE id = %(id)s",
    ),
    (
        "I4c",
        "SELECT subscription_id FROM hold WHERE kind = 'payment_in_flight' LIMIT 1",
        "UPDATE hold SET ref = 'pay_gone' WHERE subscription_id = %(id)s",
    ),
    (
        "I4d",
        "SELECT id FROM subscription WHERE payable_until IS NOT NULL LIMIT 1",
        "UPDATE subscription SET payable_until = NULL, payable_source = NULL WHERE id = %(id)s",
    ),
    ("I5", A_LIVE_ONE, "UPDATE provisioning SET enabled = false WHERE subscription_id = %(id)s"),
    (
        "I5b",
        A_LIVE_ONE,
        "ALTER TABLE provisioning DROP CONSTRAINT ck_provisioning_generations",
        """UPDATE provisioning SET applied_generation = desired_generation + 1, state = 'pending'
           WHERE subscription_id = %(id)s""",
    ),
    (
        "I5c",
        A_LIVE_ONE,
        "UPDATE audit SET id = overlay(id PLACING '000' FROM 5) WHERE action = 'clock.advance'",
        """UPDATE subscription SET updated_at = now() - interval '1 hour',
               period_start = tenure_now() - interval '40 days',
               period_end = tenure_now() - interval '10 days',
               grace_until = tenure_now() - interval '9 days' WHERE id = %(id)s""",
        """UPDATE provisioning p SET access_until = s.access_until FROM subscription s
           WHERE s.id = p.subscription_id AND s.id = %(id)s""",
    ),
    (
        "I6",
        "SELECT id FROM slot WHERE state = 'started' LIMIT 1",
        "UPDATE slot SET state = 'skipped', reason = 'overlap' WHERE id = %(id)s",
    ),
    (
        "I6b",
        AN_ITERATION,
        "ALTER TABLE iteration DROP CONSTRAINT ck_iteration_ended_whole",
        "UPDATE iteration SET ended_by = NULL WHERE id = %(id)s",
    ),
    (
        "I6c",
        AN_ITERATION,
        OLD_SERVER,
        """UPDATE iteration SET ended_at = NULL, outcome = NULL, ended_by = NULL,
               deadline_at = now() - interval '1 hour' WHERE id = %(id)s""",
        "UPDATE event SET type = 'test' WHERE type = 'iteration.ended' AND iteration_id = %(id)s",
    ),
    (
        "I6d",
        AN_ITERATION,
        "UPDATE event SET type = 'test' WHERE type = 'iteration.started' AND iteration_id = %(id)s",
    ),
    (
        "I6e",
        AN_ITERATION,
        "UPDATE iteration SET ended_at = ended_at + interval '10 minutes' WHERE id = %(id)s",
        """UPDATE iteration SET deadline_at = started_at WHERE id = %(id)s""",
        # Somebody was at work in between.
        """UPDATE iteration SET started_at = started_at + interval '5 minutes',
               ended_at = ended_at + interval '5 minutes' WHERE job = 'canary' AND id <> %(id)s""",
    ),
    (
        "I7",
        "SELECT id FROM iteration WHERE job = 'payment_watcher' ORDER BY id OFFSET 1 LIMIT 1",
        """UPDATE iteration SET ended_at = ended_at + interval '1 hour' WHERE id = (
               SELECT min(id) FROM iteration WHERE job = 'payment_watcher') AND id < %(id)s""",
    ),
    (
        "I8",
        "SELECT id FROM slot WHERE state = 'skipped' LIMIT 1",
        OLD_SERVER,
        """UPDATE slot SET state = 'pending', reason = NULL, decided_at = NULL,
               expires_at = now() - interval '1 hour' WHERE id = %(id)s""",
    ),
    (
        "I9",
        "SELECT event_id FROM event_seq ORDER BY seq DESC LIMIT 1",
        "UPDATE event_seq SET seq = seq + 1 WHERE event_id = %(id)s",
    ),
    (
        "I9b",
        "SELECT channel FROM event_channel GROUP BY channel HAVING count(*) > 1 LIMIT 1",
        """UPDATE event_channel SET ofs = ofs + 1 WHERE channel = %(id)s
             AND ofs = (SELECT max(ofs) FROM event_channel WHERE channel = %(id)s)""",
    ),
    (
        "I9c",
        "SELECT 'evt_lost'",
        "INSERT INTO event (id, type, subject) VALUES (%(id)s, 'test', 'test')",
    ),
    (
        "I10",
        "SELECT 'evt_waiting'",
        "ALTER TABLE event ENABLE TRIGGER event_added",
        """INSERT INTO event (id, type, subject, ts)
           VALUES (%(id)s, 'test', 'test', now() - interval '1 hour')""",
    ),
    (
        "I10b",
        "SELECT id FROM webhook_delivery WHERE state = 'delivered' LIMIT 1",
        "UPDATE webhook_delivery SET state = 'pending' WHERE id = %(id)s",
    ),
    (
        "I11",
        "SELECT 'inb_waiting'",
        """INSERT INTO inbound_event (id, provider, event_id, body, headers, received_at)
           VALUES (%(id)s, 'bank', 'msg_waiting', '', '{}', now() - interval '1 hour')""",
    ),
    (
        "I11",
        "SELECT '77'",
        """INSERT INTO telegram_update (update_id, kind, body, received_at)
           VALUES (CAST(%(id)s AS bigint), 'message', '{}', now() - interval '1 hour')""",
    ),
    (
        "I12b",
        "SELECT id FROM node LIMIT 1",
        """UPDATE node SET stopped_at = NULL, lease_until = now() + interval '1 hour' WHERE id = %(id)s""",
    ),
    ("I12b", "SELECT name FROM lease", "UPDATE lease SET lease_until = 'infinity' WHERE name = %(id)s"),
    (
        "I14",
        "SELECT subscription_id FROM audit WHERE action = 'subscription.pause' LIMIT 1",
        "DELETE FROM audit WHERE action = 'subscription.pause' AND subscription_id = %(id)s",
    ),
    (
        "I14",
        "SELECT id FROM payment WHERE provider = 'manual' LIMIT 1",
        "DELETE FROM audit WHERE action = 'invoice.settle' AND after->>'payment_id' = %(id)s",
    ),
    (
        "I14",
        "SELECT id FROM slot WHERE origin = 'run' LIMIT 1",
        "UPDATE slot SET user_id = 'usr_1' WHERE id = %(id)s",
    ),
    (
        "I14",
        "SELECT 'clock:domain'",
        "UPDATE domain_clock SET ahead = ahead + interval '1 second' WHERE %(id)s <> ''",
    ),
]


UNGUARDED = b"""
DO $$ DECLARE guard record; BEGIN
    FOR guard IN SELECT conrelid::regclass AS its, conname FROM pg_constraint
                 WHERE contype = 'f' AND connamespace = 'public'::regnamespace LOOP
        EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', guard.its, guard.conname);
    END LOOP;
    FOR guard IN SELECT DISTINCT tgrelid::regclass AS its FROM pg_trigger WHERE NOT tgisinternal LOOP
        EXECUTE format('ALTER TABLE %s DISABLE TRIGGER USER', guard.its);
    END LOOP;
END $$
"""


def broken(url: str, find: str, *statements: str) -> str:
    """Break the database by hand, past triggers and foreign keys; what was broken."""
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute(find.encode()).fetchone()
        assert row is not None, "the world has nothing to break"
        connection.execute(UNGUARDED)
        for statement in statements:
            if "%(id)s" not in statement:
                connection.execute(statement.encode())
                continue
            done = connection.execute(statement.encode(), {"id": row[0]})
            assert done.rowcount > 0, "nothing was broken"
    return str(row[0])


@pytest.mark.parametrize("case", BROKEN, ids=[f"{case[0]}-{n}" for n, case in enumerate(BROKEN)])
def test_what_is_broken_by_hand_is_found_by_its_own_invariant_and_no_other(url, case):
    id_, find, *statements = case
    sample = broken(url, find, *statements)
    told = violated(url)
    assert list(told) == [id_]
    assert sample in told[id_].samples
    assert told[id_].violated >= 1


# What the sessions of the server are doing is as if an hour ago.
AN_HOUR_LATER = b"""
    CREATE VIEW public.pg_stat_activity AS
    SELECT datname, pid, application_name, backend_type, state, wait_event_type,
           state_change - interval '1 hour' AS state_change, query_start - interval '1 hour' AS query_start
    FROM pg_catalog.pg_stat_activity;
    DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = public, pg_catalog',
                               current_database()); END $$
"""
FEW_CONNECTIONS = b"""
    CREATE FUNCTION public.current_setting(text) RETURNS text LANGUAGE sql
        AS $$ SELECT CASE $1 WHEN 'max_connections' THEN '1' ELSE '0' END $$;
    DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = public, pg_catalog',
                               current_database()); END $$
"""


def test_sessions_that_hold_what_others_wait_for_are_found(url):
    with (
        psycopg.connect(url, application_name="forgotten") as holder,
        psycopg.connect(url, application_name="waiting") as waiter,
        psycopg.connect(url, application_name="keeper", autocommit=True) as keeper,
        psycopg.connect(url, autocommit=True) as connection,
    ):
        holder.execute("LOCK TABLE quarantine")
        keeper.execute("SELECT pg_advisory_lock(1)")
        waits = threading.Thread(target=waiter.execute, args=["SELECT count(*) FROM quarantine"])
        waits.start()
        stuck = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = %s"
        name = connection.info.dbname
        until(lambda: connection.execute(stuck, [name]).fetchone() == (1,), 30, what="one waits")
        # The keeper and what has just begun: the former is wrong at once, the latter has its time.
        assert [sample.split()[0] for sample in violated(url)["I12"].samples] == ["keeper"]
        connection.execute(AN_HOUR_LATER)
        told = violated(url)
        holder.rollback()
        waits.join(30)
    assert list(told) == ["I12"]
    assert [sample.split()[0] for sample in told["I12"].samples] == ["forgotten", "keeper", "waiting"]


def test_a_server_that_has_hardly_a_connection_left_is_found(url):
    with psycopg.connect(url, autocommit=True, application_name="greedy") as connection:
        connection.execute(FEW_CONNECTIONS)
        told = violated(url)
    assert list(told) == ["I13"]
    assert any(sample.startswith("greedy: ") for sample in told["I13"].samples)


def test_every_invariant_is_known_to_find_what_breaks_it():
    found_above = {"I12", "I13"}
    assert {case[0] for case in BROKEN} | found_above == {invariant.id for invariant in INVARIANTS}
    assert len({invariant.id for invariant in INVARIANTS}) == len(INVARIANTS)


def miscount(url: str, by: int) -> None:
    """Every subscription counts holds that it has not, or no more."""
    with psycopg.connect(url) as connection:
        connection.execute("UPDATE subscription SET holds = holds + %s", [by])


def test_samples_are_the_first_five(url):
    miscount(url, 1)
    with psycopg.connect(url) as connection:
        ids = [row[0] for row in connection.execute("SELECT id FROM subscription ORDER BY id")]
    verdict = violated(url)["I4b"]
    assert verdict.violated == verdict.checked == len(ids) > 5
    assert list(verdict.samples) == ids[:5]


def test_the_job_opens_an_alert_for_what_is_broken_and_resolves_it_once_it_is_mended(url):
    alerts = (
        "SELECT subject, severity, resolved_at IS NULL AS open FROM alert WHERE rule = 'invariant_violated'"
    )
    with a_crew(url) as crew:
        miscount(url, 1)
        run = crew.do("verify", verify_run.run)
        assert build.rows(crew.db, alerts) == [("I4b", "critical", True)]
        assert (run.counters.done, run.counters.failed) == (len(INVARIANTS), 1)
        miscount(url, -1)
        crew.do("verify", verify_run.run)
        assert build.rows(crew.db, alerts) == [("I4b", "critical", False)]


def _command(url: str, data_dir: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tenure", "verify", *words],
        cwd=services.ROOT,
        env=services.environment(
            TENURE_DATABASE_URL=url, TENURE_ENV="development", TENURE_DATA_DIR=str(data_dir)
        ),
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def test_the_command_exits_with_1_and_shows_what_is_violated(url, tmp_path):
    well = _command(url, tmp_path, "--json")
    assert well.returncode == 0, well.stderr
    told = json.loads(well.stdout)
    assert told["ok"] is True
    assert [one["id"] for one in told["invariants"]] == [invariant.id for invariant in INVARIANTS]
    assert {frozenset(one) for one in told["invariants"]} == {
        frozenset({"id", "title", "checked", "violated", "samples"})
    }
    assert (told["unprinted"], told["log"]) == (None, None)  # no worker logs into this directory
    miscount(url, 1)
    ill = _command(url, tmp_path)
    assert ill.returncode == 1
    assert "VIOLATED" in ill.stdout
    assert "I4b" in next(line for line in ill.stdout.splitlines() if line.startswith("VIOLATED"))
