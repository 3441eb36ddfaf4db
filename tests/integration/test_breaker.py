"""Breakers and retry budgets: what an outage outside may cost, over all processes."""

from __future__ import annotations

import json
import multiprocessing
import threading
from collections.abc import Iterator
from multiprocessing.synchronize import Barrier
from typing import Any

import pytest
import redis
from sqlalchemy import text

from tenure import wiring
from tenure.audit.record import SYSTEM
from tenure.errors import Conflict
from tenure.events import order
from tenure.events.append import NewEvent, append
from tenure.integrations import known
from tenure.integrations.force_breaker import force_breaker
from tenure.integrations.guards import Guards
from tenure.kit.breaker import BUDGET_FLOOR, BUDGET_WINDOW_S, PREFIX, Breakers, Held, State, Told
from tenure.kit.db import Database
from tenure.kit.http import Bounds, ErrorAnswer, HttpDoor, Unanswered, Unsent
from tenure.kit.retry import repeating
from tenure.kit.valkey import connect
from tenure.notices.ports import Message, NotTried
from tenure.notices.ports import Unsent as NotSent
from tenure.providers.notify.email import EmailSender
from tenure.providers.provisioner import HttpProvisioner
from tenure.provisioning import reconcile
from tenure.settings import load
from tenure.standins.faults import Fault, FaultKind
from tenure.standins.provisioner import ProvisionerStandIn
from tenure.webhooks import deliver
from tenure.webhooks.create_endpoint import create_endpoint
from tests.support import builders as build
from tests.support.receiver import Receiver, answers
from tests.support.waiting import until

NAME = "provisioner"
NOWHERE = "redis://127.0.0.1:1/0"


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Valkey answers here, late at worst: these tests are not about giving it up."""
    monkeypatch.setattr("tenure.integrations.guards._VALKEY_S", 30.0)


@pytest.fixture
def live(live_url: str) -> Iterator[redis.Redis]:
    client = connect(live_url)
    yield client
    client.close()


@pytest.fixture
def breakers(live: redis.Redis) -> Breakers:
    return Breakers(live)


@pytest.fixture
def guards(live_url: str, db: Database) -> Guards:
    return Guards(live_url, db)


@pytest.fixture
def outside() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def door() -> Iterator[HttpDoor]:
    door = HttpDoor(allow_private=True)
    yield door
    door.close()


def fail(breakers: Breakers, times: int = 1, *, name: str = NAME, retry: bool = False) -> str:
    word = ""
    for _ in range(times):
        leave = breakers.ask(name, retry=retry)
        assert leave.go, leave
        word = breakers.tell(name, Told.FAIL, retry=retry, ticket=leave.ticket)
    return word


def rest_is_over(live: Any, name: str = NAME) -> None:
    """As if the breaker had opened 31 s ago."""
    opened = float(live.hget(PREFIX + name, "opened_at"))
    live.hset(PREFIX + name, "opened_at", opened - 31)


def state(breakers: Breakers, name: str = NAME) -> State:
    return breakers.seen([name])[name].state


def test_the_fifth_failure_opens_and_then_nobody_is_called(breakers):
    assert fail(breakers, 4) == "go"
    assert state(breakers) is State.CLOSED
    assert fail(breakers) == "opened"
    leave = breakers.ask(NAME, retry=False)
    assert (leave.go, leave.reason) == (False, "circuit_open")
    assert 0 < leave.wait_s <= 30
    seen = breakers.seen([NAME])[NAME]
    assert (seen.state, seen.failures, seen.opens, seen.refused) == (State.OPEN, 5, 1, 1)
    assert state(breakers, "mail") is State.CLOSED, "the others are not touched"


def test_a_few_failures_among_many_successes_open_nothing(breakers):
    for _ in range(20):
        breakers.tell(NAME, Told.OK, retry=False, ticket="")
    assert fail(breakers, 6) == "go"
    assert state(breakers) is State.CLOSED


def test_failures_of_the_minute_before_count_no_more(breakers, live):
    fail(breakers, 4)
    for field in live.hkeys(PREFIX + NAME):
        if field.startswith("b:"):
            _, at, kind = field.split(":")
            live.hset(PREFIX + NAME, f"b:{int(at) - 7}:{kind}", live.hget(PREFIX + NAME, field))
            live.hdel(PREFIX + NAME, field)
    assert fail(breakers) == "go"
    assert state(breakers) is State.CLOSED


def test_after_its_rest_exactly_one_call_probes(breakers, live):
    fail(breakers, 5)
    rest_is_over(live)
    assert state(breakers) is State.HALF_OPEN
    leaves: list = []
    threads = [
        threading.Thread(target=lambda: leaves.append(breakers.ask(NAME, retry=False))) for _ in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(leaves) == 20
    (probe,) = [leave for leave in leaves if leave.go]
    assert breakers.tell(NAME, Told.OK, retry=False, ticket=probe.ticket) == "closed"
    assert state(breakers) is State.CLOSED
    assert fail(breakers, 4) == "go", "the failures before are forgotten"


def test_a_probe_that_fails_opens_anew_and_late_answers_of_others_change_nothing(breakers, live):
    fail(breakers, 5)
    rest_is_over(live)
    probe = breakers.ask(NAME, retry=False)
    assert breakers.tell(NAME, Told.OK, retry=False, ticket="") == "open", "it asked before the opening"
    assert state(breakers) is State.HALF_OPEN
    breakers.tell(NAME, Told.FAIL, retry=False, ticket=probe.ticket)
    assert state(breakers) is State.OPEN
    assert not breakers.ask(NAME, retry=False).go


def test_a_probe_that_says_nothing_of_the_other_side_is_given_to_the_next(breakers, live):
    fail(breakers, 5)
    rest_is_over(live)
    probe = breakers.ask(NAME, retry=False)
    breakers.tell(NAME, Told.NONE, retry=False, ticket=probe.ticket)
    assert breakers.ask(NAME, retry=False).go


def _fail_once(url: str, together: Barrier) -> None:
    together.wait(300)  # a slow start of one must not push it out of the others' minute
    fail(Breakers(connect(url)))


def test_failures_of_several_processes_add_up(breakers, live_url):
    context = multiprocessing.get_context("spawn")
    together = context.Barrier(5)
    processes = [context.Process(target=_fail_once, args=(live_url, together)) for _ in range(5)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(300)
    assert [process.exitcode for process in processes] == [0] * 5
    assert breakers.seen([NAME])[NAME].opens == 1, "it has opened, however long ago that is by now"


# -- the budget of retries --


def window(live: redis.Redis) -> int:
    """The number of the budget's window of ten seconds, by Valkey's clock."""
    return int(live.time()[0]) // BUDGET_WINDOW_S


def test_retries_that_fail_are_at_most_a_tenth_of_the_calls(breakers, live):
    for _ in range(200):
        leave = breakers.ask(NAME, retry=False)
        breakers.tell(NAME, Told.OK, retry=False, ticket=leave.ticket)
    allowed = 0
    began = window(live)
    for _ in range(60):
        leave = breakers.ask(NAME, retry=True)
        if leave.go:
            allowed += 1
            breakers.tell(NAME, Told.FAIL, retry=True, ticket=leave.ticket)
        else:
            assert leave.reason == "retry_budget"
            assert 0 < leave.wait_s <= 10
    # A tenth of two hundred calls and of themselves; each window that began meanwhile gave ten more.
    assert 10 <= allowed <= 23 + BUDGET_FLOOR * (window(live) - began)
    assert breakers.seen([NAME])[NAME].over_budget == 60 - allowed


def test_retries_that_succeed_cost_nothing(breakers):
    for _ in range(100):
        leave = breakers.ask(NAME, retry=True)
        assert leave.go
        breakers.tell(NAME, Told.OK, retry=True, ticket=leave.ticket)


def test_first_calls_are_never_held_by_the_budget(breakers, monkeypatch):
    monkeypatch.setattr("tenure.kit.breaker.BUDGET_WINDOW_S", 10**12)  # no new one begins between the calls
    for _ in range(30):
        breakers.ask(NAME, retry=True)
    assert not breakers.ask(NAME, retry=True).go
    assert breakers.ask(NAME, retry=False).go


# -- the guard before a door --


@pytest.mark.parametrize(("status", "counts"), [(500, True), (503, True), (404, False), (429, False)])
def test_answers_from_500_on_count_as_failures_and_others_as_signs_of_life(
    guards, door, outside, breakers, status, counts
):
    outside.react = answers(status)
    guarded = guards.door(door, NAME)
    for _ in range(5):
        with pytest.raises(ErrorAnswer):
            guarded.request("POST", outside.url)
    assert (state(breakers) is State.OPEN) == counts
    if counts:
        before = len(outside.requests)
        with pytest.raises(Held) as held:
            guarded.request("POST", outside.url)
        assert held.value.reason == "circuit_open"
        assert len(outside.requests) == before, "nothing was sent"


def test_silence_and_closed_doors_count_as_failures(guards, door, breakers):
    closed = guards.door(door, "mail")
    for _ in range(5):
        with pytest.raises(Unsent):
            closed.request("GET", "http://127.0.0.1:1/")
    assert state(breakers, "mail") is State.OPEN
    with ProvisionerStandIn(secrets=["s"]) as standin:
        standin.faults.plan(Fault(FaultKind.DELAY, times=5, delay_s=60))
        silent = guards.door(door, "telegram")
        for _ in range(5):
            with pytest.raises(Unanswered):
                silent.request("PUT", standin.url + "/accounts/x", json={}, bounds=Bounds(read_s=0.2))
    assert state(breakers, "telegram") is State.OPEN


def test_what_an_operator_forced_wins_and_is_in_the_audit_log(guards, db, breakers, door, outside):
    integration = known.Integration(NAME, "provisioner", configured=True, breakers=(NAME,))
    with db.transaction() as session:
        force_breaker(session, integration, state="open", for_s=60, reason="moving house", actor=SYSTEM)
    guarded = guards.door(door, NAME)
    with pytest.raises(Held) as held:
        guarded.request("POST", outside.url)
    assert held.value.reason == "forced_open"
    fail(breakers, 5)
    with db.transaction() as session:
        force_breaker(session, integration, state="closed", for_s=60, reason="trying", actor=SYSTEM)
    until(lambda: _goes(guarded, outside), what="the other processes follow")
    assert state(breakers) is State.OPEN, "forced closed although it would be open"
    with db.transaction() as session:
        force_breaker(session, integration, state="auto", for_s=60, reason="", actor=SYSTEM)
    until(lambda: not _goes(guarded, outside), what="it is left to itself again")
    found = build.rows(db, "SELECT action, reason FROM audit WHERE object = 'integration:provisioner'")
    assert sorted((row.action, row.reason) for row in found) == [
        ("breaker.forced", "moving house"),
        ("breaker.forced", "trying"),
        ("breaker.released", None),
    ]


def test_what_is_forced_ends_by_itself(guards, db, door, outside):
    integration = known.Integration(NAME, "provisioner", configured=True, breakers=(NAME,))
    with db.transaction() as session:
        force_breaker(session, integration, state="open", for_s=60, reason="short", actor=SYSTEM)
        session.execute(text("UPDATE breaker_override SET until = clock_timestamp()"))
    assert _goes(guards.door(door, NAME), outside)


def test_who_is_never_called_has_no_breaker(db):
    provider = known.Integration("provider:bank", "payment_provider", configured=True)
    with pytest.raises(Conflict), db.transaction() as session:
        force_breaker(session, provider, state="open", for_s=60, reason="x", actor=SYSTEM)


def _goes(guarded: HttpDoor, outside: Receiver) -> bool:
    try:
        guarded.request("POST", outside.url)
    except Held:
        return False
    return True


def test_without_valkey_calls_go_on_and_are_counted(db, door, outside, live_url, breakers):
    guards = Guards(NOWHERE, db)
    guarded = guards.door(door, NAME)
    for _ in range(7):
        guarded.request("POST", outside.url)
    assert len(outside.requests) == 7
    # Valkey is back: what was not guarded is written down with the next call.
    guards.breakers = breakers
    until(lambda: _goes(guarded, outside) and breakers.seen([NAME])[NAME].unguarded >= 7)


# -- the jobs behind it --


def test_a_provisioner_that_is_down_is_left_alone_and_nothing_is_lost(db, guards, door, live, breakers):
    with ProvisionerStandIn(secrets=["s"]) as service:
        provisioner = HttpProvisioner(guards.door(door, NAME), url=service.url, secrets=["s"])
        ids = [build.subscription(db) for _ in range(20)]
        service.faults.plan(Fault(FaultKind.STATUS, times=1000, status=503))
        for _ in range(3):
            reconcile.run(build.run(db, "activation"), provisioner)
        assert state(breakers) is State.OPEN
        calls = service.faults.hits["status"]
        assert 5 <= calls <= 13, "as many as were under way when it opened"
        waiting = build.rows(db, "SELECT attempts FROM provisioning WHERE state = 'pending'")
        assert len(waiting) == 20
        assert sum(row.attempts for row in waiting) == calls, "what was not tried is not counted"
        service.faults.clear()
        build.rows(db, "UPDATE provisioning SET next_at = clock_timestamp() RETURNING 1")
        rest_is_over(live)

        def in_sync() -> bool:
            reconcile.run(build.run(db, "activation"), provisioner)
            return {build.shown(db, id_)["provisioning"]["state"] for id_ in ids} == {"in_sync"}

        until(in_sync, what="all accounts are applied after the probe")
        assert state(breakers) is State.CLOSED


def test_an_endpoint_that_is_down_loses_no_tries_to_calls_that_were_not_made(
    db, breakers, live, outside, database_url, live_url, tmp_path
):
    given = {
        "TENURE_DATABASE_URL": database_url, "TENURE_LIVE_URL": live_url, "TENURE_DATA_DIR": str(tmp_path),
        "TENURE_SECRET_KEY": "a key for tests that is long enough",
    }  # fmt: skip
    deps = wiring.Deps(load(given), db)
    deps.keys.ring()  # read before the transaction, as a request does
    with db.transaction() as session:
        made = create_endpoint(
            session,
            url=outside.url,
            types=["*"],
            allow_private=True,
            sealer=deps.webhook_sealer,
            actor=SYSTEM,
        )
        append(
            session,
            [NewEvent("subscription.renewed", "subscription:sub_1", (), {"n": n}) for n in range(9)],
        )
        assert order.lead(session, holder="test", lease_s=60)
        order.number_pending(session)
    outside.react = answers(500)
    deliver.run(build.run(db, "webhooks"), deps.post_webhook, deps.webhook_sealer)
    calls = len(outside.requests)
    assert calls >= 3
    name = "webhook:" + made["id"]
    fail(breakers, 5 - min(calls, 5), name=name)
    assert state(breakers, name) is State.OPEN
    deliver.run(build.run(db, "webhooks"), deps.post_webhook, deps.webhook_sealer)
    assert len(outside.requests) == calls
    tried = build.rows(db, "SELECT sum(attempts) AS n FROM webhook_delivery")[0].n
    assert tried == calls
    assert build.rows(db, "SELECT sum(attempts) AS n FROM outbox")[0].n == calls
    outside.react = answers(200)
    build.rows(db, "UPDATE outbox SET available_at = clock_timestamp() RETURNING 1")
    rest_is_over(live, name)
    deliver.run(build.run(db, "webhooks"), deps.post_webhook, deps.webhook_sealer)
    assert state(breakers, name) is State.CLOSED
    deps.guarded_door.close()


def test_a_mail_server_that_is_down_is_left_alone(guards, breakers):
    sender = EmailSender(url="smtp://127.0.0.1:1", mail_from="a@b.example", guard=guards.guard("mail"))
    mail = Message("ntc_1", "period_ending", "d3", "x@y.example", "subject", "text")
    for _ in range(5):
        assert isinstance(sender.send(mail), NotSent)
    held = sender.send(mail)
    assert isinstance(held, NotTried)
    assert 0 < held.after_s <= 30
    assert state(breakers, "mail") is State.OPEN


def test_a_repeat_is_told_from_a_first_call(guards, door, outside, breakers):
    outside.react = answers(404)
    guarded = guards.door(door, NAME)
    with repeating(True), pytest.raises(ErrorAnswer):
        guarded.request("POST", outside.url)
    breakers._live.hset(PREFIX + NAME, mapping={"retries": 1000})
    with repeating(True), pytest.raises((Held, ErrorAnswer)):
        guarded.request("POST", outside.url)
    with pytest.raises(ErrorAnswer):
        guarded.request("POST", outside.url)


def test_each_rpc_node_has_a_breaker_of_its_own(tmp_path):
    chain = {
        "name": "main", "kind": "evm", "chain_id": 1, "confirmations": 3, "addresses": ["0x" + "1" * 40],
        "assets": [{"symbol": "USDC", "contract": "0x" + "2" * 40, "decimals": 6}],
    }  # fmt: skip
    given = {"TENURE_CHAINS": json.dumps([{**chain, "rpc_urls": ["http://a", "http://b"]}])}
    (found,) = [one for one in known.configured(load(given, data_dir=tmp_path)) if one.kind == "chain"]
    assert found.breakers == ("chain:main:1", "chain:main:2")
