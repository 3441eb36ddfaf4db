"""Webhooks out: real posts to real receivers, at least once, under an id that stays."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from tenure import wiring
from tenure.audit.record import SYSTEM
from tenure.errors import Conflict, Invalid, NotFound
from tenure.events import order
from tenure.events.append import NewEvent, append
from tenure.exporter.integrations import integrations
from tenure.iterations.run import Run
from tenure.kit.breaker import PREFIX
from tenure.kit.db import Database
from tenure.kit.valkey import connect
from tenure.outbox.topics import WEBHOOK
from tenure.settings import Settings, load
from tenure.standins.httpserver import Reply, Request
from tenure.webhooks import deliver, queries
from tenure.webhooks.create_endpoint import create_endpoint
from tenure.webhooks.delete_endpoint import delete_endpoint
from tenure.webhooks.enable_endpoint import enable_endpoint
from tenure.webhooks.fan_out import fan_out
from tenure.webhooks.replay_delivery import replay_delivery
from tests.support import builders, services
from tests.support.receiver import Receiver, answers
from tests.support.waiting import until
from tests.support.worker import Ledger, environment, worker

KEY = "a key for tests that is long enough"
ALL = ["*"]


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    given = {
        "TENURE_DATABASE_URL": database_url,
        "TENURE_SECRET_KEY": KEY,
        "TENURE_DATA_DIR": str(tmp_path),
    }
    return load(given)


@pytest.fixture
def deps(settings: Settings, db: Database) -> Iterator[wiring.Deps]:
    deps = wiring.Deps(settings, db)
    yield deps
    deps.guarded_door.close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


def endpoint(deps: wiring.Deps, url: str, types: list[str] = ALL) -> dict[str, Any]:
    deps.keys.ring()  # read before the transaction, as a request does
    with deps.db.transaction() as session:
        return create_endpoint(
            session, url=url, types=types, allow_private=True, sealer=deps.webhook_sealer, actor=SYSTEM
        )


def happen(db: Database, *types: str, **data: Any) -> list[str]:
    """Events of these types, without their place in the order yet."""
    with db.transaction() as session:
        return append(
            session, [NewEvent(type_, "subscription:sub_1", (), {"n": 1, **data}) for type_ in types]
        )


def give_places(db: Database) -> None:
    """What the relay does."""
    with db.transaction() as session:
        assert order.lead(session, holder="test", lease_s=60)
        order.number_pending(session)


def told(deps: wiring.Deps, *types: str, **data: Any) -> list[str]:
    """Events that happened and have their place; one pass was made."""
    ids = happen(deps.db, *types, **data)
    give_places(deps.db)
    pass_once(deps)
    return ids


def pass_once(deps: wiring.Deps) -> Run:
    run = builders.run(deps.db, "webhooks")
    deliver.run(run, deps.post_webhook, deps.webhook_sealer)
    return run


def make_due(db: Database) -> None:
    with db.transaction() as session:
        session.execute(text("UPDATE outbox SET available_at = clock_timestamp() WHERE state = 'ready'"))


def put_off(db: Database) -> None:
    """What failed is due in an hour and more: the first pause, of 5 s, is no time on a busy machine."""
    with db.transaction() as session:
        session.execute(
            text("""
                UPDATE outbox SET available_at = available_at + interval '1 hour'
                WHERE state = 'ready' AND attempts > 0
            """)
        )


def deliveries(db: Database, **filters: Any) -> list[dict[str, Any]]:
    with db.transaction() as session:
        found: list[dict[str, Any]] = queries.deliveries(session, limit=200, **filters)["items"]
        return found


def alerts(db: Database) -> list[tuple[str, str]]:
    rows = builders.rows(db, "SELECT rule, subject FROM alert WHERE resolved_at IS NULL ORDER BY rule")
    return [(row.rule, row.subject) for row in rows]


def test_a_real_change_reaches_the_endpoint_signed_with_its_secret(deps, receiver):
    made = endpoint(deps, receiver.url + "/hook", ["subscription.*", "entitlement.changed"])
    subscription_id = builders.subscription(deps.db)
    give_places(deps.db)
    run = pass_once(deps)
    messages = receiver.messages(made["secret"])
    assert {"subscription.created", "subscription.activated", "entitlement.changed"} <= {
        message["type"] for message in messages
    }
    assert {message["subject"] for message in messages} == {f"subscription:{subscription_id}"}
    assert all(message["timestamp"].endswith("Z") and message["data"] for message in messages)
    assert sorted(message["seq"] for message in messages) == sorted({m["seq"] for m in messages})
    assert (run.counters.done, run.counters.failed) == (len(messages), 0)
    assert {one["state"] for one in deliveries(deps.db)} == {"delivered"}
    pass_once(deps)
    assert set(receiver.ids.values()) == {1}


def test_an_endpoint_gets_what_its_types_say_and_nothing_else(deps):
    wanted = {
        "family": ["invoice.*"],
        "exact": ["payment.confirmed"],
        "failed": ["iteration.failed"],
        "all": ["*"],
    }
    receivers = {name: Receiver().start() for name in wanted}
    secrets = {name: endpoint(deps, receivers[name].url, types)["secret"] for name, types in wanted.items()}
    happen(deps.db, "iteration.ended", outcome="ok")
    happen(deps.db, "iteration.ended", outcome="timed_out")
    told(deps, "invoice.paid", "payment.confirmed", "payment.seen", "notice.sent", "alert.opened")
    got = {
        name: Counter(message["type"] for message in receivers[name].messages(secrets[name]))
        for name in wanted
    }
    for one in receivers.values():
        one.stop()
    assert got == {
        "family": {"invoice.paid": 1},
        "exact": {"payment.confirmed": 1},
        "failed": {"iteration.failed": 1},
        "all": {"invoice.paid": 1, "payment.confirmed": 1, "payment.seen": 1, "iteration.failed": 1},
    }


def test_three_refusals_then_success_is_one_delivery_under_one_id(deps, receiver):
    receiver.react = answers(500, 500, 500, 200)
    made = endpoint(deps, receiver.url)
    [event_id] = told(deps, "invoice.paid")
    for tries in (1, 2, 3):
        [one] = deliveries(deps.db)
        assert (one["state"], one["attempts"], one["last_status"]) == ("failed", tries, 500)
        assert one["next_at"] is not None
        assert receiver.ids == {event_id: tries}
        put_off(deps.db)
        pass_once(deps)  # not due yet
        assert receiver.ids == {event_id: tries}
        make_due(deps.db)
        pass_once(deps)
    [one] = deliveries(deps.db)
    assert (one["state"], one["attempts"], one["last_status"]) == ("delivered", 4, 200)
    assert receiver.ids == {event_id: 4}
    assert len({request.body for request in receiver.requests}) == 1
    assert len(receiver.messages(made["secret"])) == 4
    make_due(deps.db)
    pass_once(deps)
    assert receiver.ids == {event_id: 4}
    assert builders.rows(deps.db, "SELECT failures FROM webhook_endpoint")[0].failures == 0


def test_what_an_endpoint_said_last_stays_known_while_nobody_asks_it(settings, db, live_url, receiver):
    guarded = settings.model_copy(update={"live_url": SecretStr(live_url)})
    deps, live = wiring.Deps(guarded, db), connect(live_url)
    receiver.react = answers(500)
    name = f"webhook:{endpoint(deps, receiver.url)['id']}"
    told(deps, *["invoice.paid"] * 8)
    put_off(db)

    def said() -> Counter[str]:
        return Counter((one["last_error"] or "nothing").removesuffix(": null") for one in deliveries(db))

    for _ in range(4):  # a pass gives an endpoint up after a few failures
        pass_once(deps)
        put_off(db)
    asked = len(receiver.requests)
    assert 5 <= asked < 8, "its breaker is open"
    live.hincrbyfloat(f"{PREFIX}{name}", "opened_at", 3600)  # and stays so as long as this takes
    assert said()["status 500"] == asked
    assert said()["circuit_open"] > 0
    for _ in range(4):
        make_due(db)
        pass_once(deps)
    assert len(receiver.requests) == asked, "nobody is asked while it is open"
    assert said()["status 500"] == asked
    shown = next(one for one in integrations(db, live, guarded) if one["name"] == name)
    assert shown["last_error"].startswith("status 500")
    deps.guarded_door.close()
    live.close()


def test_a_process_killed_between_the_post_and_its_note_means_the_same_id_again(deps, receiver, tmp_path):
    made = endpoint(deps, receiver.url)
    [event_id] = happen(deps.db, "payment.confirmed")
    give_places(deps.db)
    victims: list[subprocess.Popen[bytes]] = []
    known = threading.Event()

    def kill(_request: Request) -> Reply:
        known.wait(30)  # it may call before we hear of its start
        victims[0].kill()
        victims[0].wait(30)
        return Reply(200)

    receiver.react = kill
    with (tmp_path / "pass.log").open("wb") as log:
        victim = subprocess.Popen(
            [sys.executable, "-m", "tests.support.webhook_pass"],
            cwd=services.ROOT,
            env=services.environment(
                TENURE_DATABASE_URL=deps.db.url,
                TENURE_SECRET_KEY=KEY,
                TENURE_DATA_DIR=str(tmp_path),
                PYTHONPATH=f"{services.ROOT}/platform",
            ),
            stdout=log,
            stderr=log,
        )

        victims.append(victim)
        known.set()
        try:
            until(lambda: victim.poll() is not None, 60)
        finally:
            if victim.poll() is None:
                victim.kill()
    assert victim.returncode == -signal.SIGKILL, (tmp_path / "pass.log").read_text()
    assert receiver.ids == {event_id: 1}
    [one] = deliveries(deps.db)
    assert (one["state"], one["attempts"]) == ("pending", 1)

    receiver.react = answers(200)
    pass_once(deps)
    assert receiver.ids == {event_id: 1}  # the dead one's lease still stands
    builders.rows(deps.db, "UPDATE outbox SET locked_until = clock_timestamp() RETURNING id")
    pass_once(deps)
    assert receiver.ids == {event_id: 2}
    assert len(receiver.messages(made["secret"])) == 2
    [one] = deliveries(deps.db)
    assert (one["state"], one["attempts"]) == ("delivered", 2)


def test_two_workers_at_once_post_each_event_once(deps, receiver):
    for _ in range(2):
        endpoint(deps, receiver.url)
    ids = happen(deps.db, *["subscription.renewed"] * 60)
    give_places(deps.db)
    first = builders.run(deps.db, "webhooks")
    databases = [Database(deps.db.url, pool_size=3, application="test") for _ in range(2)]
    threads = [
        threading.Thread(
            target=deliver.run,
            args=(
                Run(iteration_id=first.iteration_id, job="webhooks", scope="", db=own, soft_s=60, batch=25),
                deps.post_webhook,
                deps.webhook_sealer,
            ),
        )
        for own in databases
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for own in databases:
        own.close()
    pass_once(deps)  # what was fanned out by the one when the other had looked already
    assert receiver.ids == dict.fromkeys(ids, 2)
    assert {one["attempts"] for one in deliveries(deps.db)} == {1}


def test_gone_disables_the_endpoint_and_enabled_again_it_can_be_told(deps, receiver):
    receiver.react = answers(410)
    made = endpoint(deps, receiver.url)
    told(deps, *["invoice.paid"] * 12)
    assert 1 <= len(receiver.requests) <= 6  # those under way at the same moment
    pass_once(deps)
    with deps.db.transaction() as session:
        shown = queries.endpoint_by_id(session, made["id"])
    assert shown["disabled_at"] is not None
    assert shown["disabled_reason"] == "it answered 410 Gone"
    assert {one["state"] for one in deliveries(deps.db)} == {"dead"}
    assert alerts(deps.db) == [("webhook_disabled", made["id"])]

    before = len(receiver.requests)
    told(deps, "invoice.paid")
    assert len(receiver.requests) == before
    assert len(deliveries(deps.db)) == 12  # what happens meanwhile is not kept for it
    waiting = deliveries(deps.db)[0]["id"]
    with pytest.raises(Conflict) as refused, deps.db.transaction() as session:
        replay_delivery(session, waiting, actor=SYSTEM)
    assert refused.value.instance_code == "endpoint_disabled"

    receiver.react = answers(200)
    with deps.db.transaction() as session:
        assert enable_endpoint(session, made["id"], actor=SYSTEM)["disabled_at"] is None
        again = replay_delivery(session, waiting, actor=SYSTEM)
    assert alerts(deps.db) == []
    pass_once(deps)
    assert [one["event_id"] for one in deliveries(deps.db, state="delivered")] == [again["event_id"]]


def test_after_the_last_try_it_is_dead_with_an_alert_and_a_replay_keeps_the_id(deps, receiver):
    receiver.react = answers(503)
    made = endpoint(deps, receiver.url)
    [event_id] = told(deps, "invoice.expired")
    for _ in range(WEBHOOK.attempts - 1):
        make_due(deps.db)
        pass_once(deps)
    [one] = deliveries(deps.db)
    assert (one["state"], one["attempts"], one["next_at"]) == ("dead", 10, None)
    assert alerts(deps.db) == [("webhook_dead", made["id"])]
    make_due(deps.db)
    pass_once(deps)
    assert receiver.ids == {event_id: 10}

    receiver.react = answers(200)
    with deps.db.transaction() as session:
        again = replay_delivery(session, one["id"], actor=SYSTEM)
    assert (again["state"], again["replays"]) == ("pending", 1)
    pass_once(deps)
    assert receiver.ids == {event_id: 11}
    assert [one["state"] for one in deliveries(deps.db)] == ["delivered"]
    assert alerts(deps.db) == []


def test_a_delivered_event_can_be_told_again(deps, receiver):
    endpoint(deps, receiver.url)
    [event_id] = told(deps, "invoice.opened")
    with deps.db.transaction() as session:
        replay_delivery(session, queries.deliveries(session, limit=1)["items"][0]["id"], actor=SYSTEM)
    pass_once(deps)
    assert receiver.ids == {event_id: 2}


def test_an_endpoint_gets_nothing_that_happened_before_it(deps, receiver):
    happen(deps.db, "invoice.opened")
    give_places(deps.db)
    happen(deps.db, "invoice.paid")  # committed, but without a place until later
    endpoint(deps, receiver.url)
    [event_id] = told(deps, "invoice.voided")
    assert receiver.ids == {event_id: 1}


def test_a_deleted_endpoint_is_told_nothing_more(deps, receiver):
    receiver.react = answers(500)
    made = endpoint(deps, receiver.url)
    told(deps, "invoice.paid")
    assert len(receiver.requests) == 1
    with deps.db.transaction() as session:
        delete_endpoint(session, made["id"], actor=SYSTEM)
    make_due(deps.db)
    told(deps, "invoice.voided")
    assert len(receiver.requests) == 1
    assert builders.rows(deps.db, "SELECT 1 FROM outbox WHERE state = 'ready'") == []
    with pytest.raises(NotFound), deps.db.transaction() as session:
        delete_endpoint(session, made["id"], actor=SYSTEM)


def test_an_endpoint_that_never_answers_does_not_keep_the_others_waiting(deps, receiver):
    hanging = threading.Event()
    release = threading.Event()

    def hang(_request: Request) -> Reply:
        hanging.set()
        release.wait(30)
        return Reply(200)

    with Receiver(hang) as silent:
        endpoint(deps, silent.url)
        endpoint(deps, receiver.url)
        happen(deps.db, *["invoice.paid"] * 20)
        give_places(deps.db)
        thread = threading.Thread(target=pass_once, args=(deps,))
        thread.start()
        try:
            until(hanging.is_set)
            until(lambda: len(receiver.ids) == 20)
            late = happen(deps.db, "invoice.voided")  # in the same pass, while it hangs
            give_places(deps.db)
            until(lambda: late[0] in receiver.ids)
            assert thread.is_alive()
        finally:
            release.set()
            thread.join(40)
    assert len(silent.requests) <= 21


def test_the_other_sides_words_and_wishes_are_kept_as_far_as_they_can_be_stored(deps, receiver):
    receiver.react = lambda _request: Reply(429, headers={"Retry-After": "900"}, html="no\x00w" + "x" * 5000)
    endpoint(deps, receiver.url)
    told(deps, "invoice.paid")
    [one] = deliveries(deps.db)
    assert one["last_error"].startswith("status 429: now")
    assert len(one["last_error"]) <= 300
    [row] = builders.rows(
        deps.db, "SELECT extract(epoch FROM next_at - clock_timestamp()) AS s FROM webhook_delivery"
    )
    assert row.s > 890


def test_a_sender_that_dies_at_every_try_ends_as_a_dead_letter(deps, receiver):
    made = endpoint(deps, receiver.url)
    happen(deps.db, "invoice.paid")
    give_places(deps.db)
    with deps.db.transaction() as session:
        assert fan_out(session, limit=10) == 1
        session.execute(
            text("UPDATE outbox SET attempts = :most, locked_until = clock_timestamp()"),
            {"most": WEBHOOK.attempts},
        )
    pass_once(deps)
    assert receiver.requests == []
    assert [one["state"] for one in deliveries(deps.db)] == ["dead"]
    assert alerts(deps.db) == [("webhook_dead", made["id"])]


def test_another_signing_key_fails_openly_and_sends_nothing(deps, receiver, settings, db):
    endpoint(deps, receiver.url)
    changed = wiring.Deps(load({"TENURE_DATABASE_URL": db.url, "TENURE_SECRET_KEY": KEY + "!"}), db)
    told(changed, "invoice.paid")
    assert receiver.requests == []
    [one] = deliveries(db)
    assert (one["state"], one["last_status"]) == ("failed", None)
    assert "TENURE_SECRET_KEY" in one["last_error"]


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_name_that_leads_inside_is_refused_when_it_is_called_in_production(db, tmp_path, receiver, scheme):
    production = load(
        {
            "TENURE_DATABASE_URL": db.url,
            "TENURE_SECRET_KEY": KEY,
            "TENURE_ENV": "production",
            "TENURE_DATA_DIR": str(tmp_path),
        }
    )
    assert not production.private_urls_allowed
    deps = wiring.Deps(production, db)
    endpoint(deps, f"{scheme}://localhost:{receiver.port}/")
    told(deps, "invoice.paid")
    assert receiver.requests == []
    [one] = deliveries(db)
    assert (one["state"], one["last_status"], one["last_error"]) == ("failed", None, "address")


def test_an_endpoint_that_is_not_valid_is_not_made_and_every_problem_is_named(deps):
    with pytest.raises(Invalid) as refused, deps.db.transaction() as session:
        create_endpoint(
            session,
            url="https://10.0.0.8/",
            types=["nonsense.*"],
            allow_private=False,
            sealer=deps.webhook_sealer,
            actor=SYSTEM,
        )
    assert {(error.field, error.code) for error in refused.value.errors} == {
        ("url", "private_address"),
        ("types.0", "unknown_type"),
    }
    assert builders.rows(deps.db, "SELECT 1 FROM webhook_endpoint") == []


def test_the_secret_lies_sealed_and_nowhere_else(deps, receiver):
    made = endpoint(deps, receiver.url)
    told(deps, "invoice.paid")
    bare = made["secret"].removeprefix("whsec_")
    assert len(receiver.messages(made["secret"])) == 1
    for table in ("webhook_endpoint", "webhook_delivery", "outbox", "audit", "event", "alert"):
        for row in builders.rows(deps.db, f"SELECT t::text AS whole FROM {table} t"):
            assert bare not in row.whole
            assert bare.encode().hex() not in row.whole
    # A row's secret cannot be given to another endpoint.
    other = endpoint(deps, receiver.url)
    builders.rows(
        deps.db,
        "UPDATE webhook_endpoint b SET secret_sealed = a.secret_sealed FROM webhook_endpoint a"
        " WHERE a.id = :a AND b.id = :b RETURNING b.id",
        a=made["id"],
        b=other["id"],
    )
    told(deps, "invoice.voided")
    assert [one["state"] for one in deliveries(deps.db, endpoint=other["id"])] == ["failed"]


def test_a_worker_does_it_and_its_log_knows_no_secret(db, database_url, broker_url, tmp_path, receiver):
    env = environment(database_url, broker_url, tmp_path, TENURE_SECRET_KEY=KEY)
    made = endpoint(wiring.Deps(load(env), db), receiver.url)
    with worker(env, tmp_path) as running:
        happen(db, "invoice.paid")
        give_places(db)
        ledger = Ledger(db, env)
        end = ledger.ended(ledger.run("webhooks"), within=90)
        assert (end["outcome"], end["counters"]["done"]) == ("ok", 1)
    assert [one["type"] for one in receiver.messages(made["secret"])] == ["invoice.paid"]
    assert made["secret"].removeprefix("whsec_") not in running.log.read_text()
