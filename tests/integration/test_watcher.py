"""The job payment_watcher: sees, confirms and credits each transfer once, whatever the chain and we do."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import text

from tenure.errors import Invalid, IterationOver
from tenure.kit.http import HttpDoor
from tenure.payments import chain_memory, look, watch
from tenure.payments.open_invoice import Wanted
from tenure.payments.rules import Method
from tenure.providers.chain.evm import EvmChain
from tenure.settings import Asset, Settings
from tenure.standins import devchain
from tenure.standins.chain import ChainStandIn
from tenure.standins.faults import Fault, FaultKind
from tenure.wiring import chain_readers
from tests.support import builders as build
from tests.support.devchains import anvil_binary
from tests.support.money import RECEIVERS, Shop, settings, simulated_shop
from tests.support.services import ROOT, environment


@pytest.fixture
def shop(db) -> Iterator[Shop]:
    with simulated_shop(db) as made:
        yield made


def _event_types(shop: Shop, like: str) -> list[str]:
    found = build.rows(shop.db, "SELECT type FROM event WHERE type LIKE :like ORDER BY n", like=like)
    return [row.type for row in found]


def _holds(shop: Shop, sub: str) -> list[str]:
    return [hold["kind"] for hold in build.shown(shop.db, sub)["holds"]]


def test_a_transfer_is_seen_confirmed_by_depth_and_credited_once(shop):
    sub = build.subscription(shop.db, status="incomplete")
    invoice = shop.opened(sub)
    shop.watch()
    tx_hash = shop.pay(invoice)
    shop.watch()
    seen = shop.invoice(invoice["id"])
    assert (seen["status"], seen["confirmations"]) == ("open", {"seen": 1, "required": 3})
    assert _holds(shop, sub) == ["payment_in_flight"]
    shop.chain.mine()
    shop.watch()
    assert shop.invoice(invoice["id"])["confirmations"]["seen"] == 2
    assert shop.status(sub) == "incomplete"
    shop.chain.mine()
    shop.watch()
    paid = shop.invoice(invoice["id"])
    assert (paid["status"], paid["exception"], paid["paid"]["amount_minor"]) == ("paid", "none", 999)
    assert paid["confirmations"] == {"seen": 3, "required": 3}
    shown = build.shown(shop.db, sub)
    assert (shown["status"], shown["holds"], shown["payable_until"]) == ("active", [], None)
    assert shop.entries() == [("credit", 999), ("debit", -999)]
    [payment] = shop.payments()
    assert (payment["tx_hash"], payment["status"], payment["match"]) == (tx_hash, "confirmed", "matched")
    notices = build.rows(shop.db, "SELECT kind, ref, channel FROM notice WHERE kind = 'payment_confirmed'")
    assert [tuple(row) for row in notices] == [("payment_confirmed", payment["id"], "email")]
    told = [type_ for type_ in _event_types(shop, "payment.%") if type_ != "payment.progress"]
    assert told == ["payment.seen", "payment.confirmed", "payment.credited"]
    assert _event_types(shop, "invoice.%") == ["invoice.opened", "invoice.paid"]
    rows = build.rows(
        shop.db, "SELECT count(*) FROM event WHERE subscription_id = :id AND type LIKE 'payment.%'", id=sub
    )
    assert rows[0][0] >= 3


def test_reading_the_same_blocks_again_credits_nothing_twice(shop):
    sub = build.subscription(shop.db, status="incomplete")
    shop.pay(shop.opened(sub))
    shop.chain.mine(3)
    shop.watch()
    assert shop.status(sub) == "active"
    before = shop.entries(), build.shown(shop.db, sub)["period_end"]
    with shop.db.transaction() as session:
        session.execute(text("DELETE FROM chain_block"))
        session.execute(text("DELETE FROM chain_cursor"))
    run = shop.watch()
    assert run.counters.seen == 1
    assert (shop.entries(), build.shown(shop.db, sub)["period_end"]) == before
    assert len(shop.payments()) == 1


def test_two_watchers_at_once_credit_once(shop):
    build.plan(shop.db)
    subs = [build.subscription(shop.db, status="incomplete") for _ in range(8)]
    for sub in subs:
        shop.pay(shop.opened(sub))
    shop.chain.mine(3)
    one = build.run(shop.db, "payment_watcher")
    other = build.run(shop.db, "auto_renewal")  # any open iteration is a fence
    errors: list[BaseException] = []
    gate = threading.Barrier(2)

    def work(run) -> None:
        gate.wait()
        try:
            watch.run(run, shop.settings, shop.readers)
        except BaseException as error:  # noqa: BLE001 - handed to the test
            errors.append(error)

    threads = [threading.Thread(target=work, args=(run,)) for run in (one, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    shop.watch()
    assert {shop.status(sub) for sub in subs} == {"active"}
    assert sorted(shop.entries()) == sorted([("credit", 999), ("debit", -999)] * 8)
    assert len(shop.payments()) == 8


def test_a_payment_in_flight_keeps_the_expiry_back_and_saves_the_subscription(shop):
    build.plan(shop.db, grace_hours=0)
    sub = build.subscription(shop.db)
    end = build.moment(shop.db, sub, "period_end")
    build.advance_to(shop.db, end - timedelta(hours=1))
    shop.pay(shop.opened(sub))
    shop.watch()
    assert _holds(shop, sub) == ["payment_in_flight"]
    build.advance_to(shop.db, end + timedelta(hours=1))
    shop.watch()
    assert shop.expire().counters.skipped == 1
    assert shop.status(sub) == "active"
    shop.chain.mine(2)
    shop.watch()
    shown = build.shown(shop.db, sub)
    assert (shown["status"], shown["holds"]) == ("active", [])
    assert build.moment(shop.db, sub, "period_end") > end
    assert shop.expire().counters.done == 0


def test_nobody_expires_while_the_chain_cannot_be_seen_and_a_payment_inside_the_gap_counts(shop):
    build.plan(shop.db, grace_hours=0)
    payer, idler = build.subscription(shop.db), build.subscription(shop.db)
    end = build.moment(shop.db, idler, "period_end")
    build.advance_to(shop.db, end - timedelta(hours=1))
    invoice = shop.opened(payer)
    shop.open(idler)
    shop.watch()
    shop.node.faults.plan(Fault(FaultKind.STATUS, times=1000, status=503))
    build.advance_to(shop.db, end + timedelta(minutes=1))
    shop.expire()
    assert (shop.status(payer), shop.status(idler)) == ("active", "active")
    assert shop.watch().counters.failed == 1
    [source] = build.rows(shop.db, "SELECT last_error FROM payment_source WHERE name = 'chain:dev'")
    assert source.last_error
    alerts = build.rows(shop.db, "SELECT rule FROM alert WHERE resolved_at IS NULL")
    assert [row.rule for row in alerts] == ["chain_unreachable"]
    assert shop.expire().counters.skipped == 2
    assert shop.node.faults.hits.get("status", 0) >= 1
    shop.node.faults.clear()
    shop.pay(invoice)
    shop.chain.mine(3)
    shop.watch()
    shop.expire()
    assert (shop.status(payer), shop.status(idler)) == ("active", "expired")
    assert build.rows(shop.db, "SELECT 1 FROM alert WHERE resolved_at IS NULL") == []


def test_a_chain_that_fails_does_not_stop_the_others(shop):
    dead = shop.settings.chains[0].model_copy(
        update={"name": "dead", "rpc_urls": ("http://127.0.0.1:1",), "chain_id": 7}
    )
    both: Settings = shop.settings.model_copy(update={"chains": (dead, *shop.settings.chains)})
    door = HttpDoor(allow_private=True)
    sub = build.subscription(shop.db, status="incomplete")
    shop.pay(shop.opened(sub))
    shop.chain.mine(3)
    run = build.run(shop.db, "payment_watcher")
    watch.run(run, both, chain_readers(both, door))
    door.close()
    assert run.counters.failed == 1
    assert shop.status(sub) == "active"
    errors = build.rows(shop.db, "SELECT name, last_error IS NULL AS ok FROM payment_source ORDER BY name")
    assert [tuple(row) for row in errors] == [("chain:dead", False), ("chain:dev", True)]


def test_a_chains_own_coin_in_the_settings_does_not_hide_its_tokens(shop):
    chain = shop.settings.chains[0]
    coin = Asset(symbol="ETH", contract=None, decimals=18)
    both = chain.model_copy(update={"assets": (coin, *chain.assets)})
    shop.settings = shop.settings.model_copy(update={"chains": (both,)})
    door = HttpDoor(allow_private=True)
    shop.readers = dict(chain_readers(shop.settings, door))
    sub = build.subscription(shop.db, status="incomplete")
    with pytest.raises(Invalid) as refused:
        shop.open(sub, Wanted(Method.CHAIN, chain="dev", asset="ETH"))
    assert refused.value.errors[0].code == "unknown_asset"
    shop.pay(shop.opened(sub))
    shop.chain.mine(3)
    shop.watch()
    door.close()
    assert shop.status(sub) == "active"


def test_a_reorg_moves_a_payment_and_it_is_credited_once(shop):
    sub = build.subscription(shop.db, status="incomplete")
    invoice = shop.opened(sub)
    shop.watch()
    shop.pay(invoice)
    shop.watch()
    before = build.rows(shop.db, "SELECT block_hash, log_index FROM payment")
    shop.chain.reorg(1, keep=True)
    shop.watch()
    after = build.rows(shop.db, "SELECT block_hash, log_index FROM payment")
    assert before[0].block_hash != after[0].block_hash
    assert before[0].log_index != after[0].log_index
    shop.chain.mine(3)
    shop.watch()
    assert shop.status(sub) == "active"
    assert shop.entries() == [("credit", 999), ("debit", -999)]
    assert len(shop.payments()) == 1


@pytest.mark.parametrize("confirmed", [True, False])
def test_a_payment_that_a_reorg_moves_is_told_once_and_holds_nothing_for_ever(shop, confirmed):
    sub = build.subscription(shop.db, status="incomplete")
    invoice = shop.opened(sub)
    shop.watch()
    shop.pay(invoice)
    shop.chain.mine(2 if confirmed else 1)
    shop.watch()
    assert [payment["status"] for payment in shop.payments()] == ["confirmed" if confirmed else "seen"]
    (before,) = build.rows(shop.db, "SELECT block_hash FROM payment")
    shop.chain.reorg(3 if confirmed else 2, keep=True)
    shop.watch()
    (after,) = build.rows(shop.db, "SELECT block_hash FROM payment")
    assert before.block_hash != after.block_hash, "the reorg did not happen"
    told = build.rows(shop.db, "SELECT type FROM event WHERE type LIKE 'payment.%' AND type <> :progress",
                      progress="payment.progress")  # fmt: skip
    assert [row.type for row in told].count("payment.seen") == 1
    shop.chain.mine(3)
    shop.watch()
    assert shop.status(sub) == "active"
    assert _holds(shop, sub) == [], "an expiry would wait for ever"


def test_a_payment_whose_block_vanished_is_orphaned_and_holds_nothing(shop):
    sub = build.subscription(shop.db, status="incomplete")
    invoice = shop.opened(sub)
    shop.watch()
    shop.pay(invoice)
    shop.watch()
    assert _holds(shop, sub) == ["payment_in_flight"]
    shop.chain.reorg(1, keep=False)
    shop.watch()
    assert [payment["status"] for payment in shop.payments()] == ["orphaned"]
    assert _holds(shop, sub) == []
    shop.chain.mine(5)
    shop.watch()
    assert shop.invoice(invoice["id"])["status"] == "open"
    assert shop.entries() == []


def test_a_reorg_deeper_than_the_confirmations_is_reversed_and_told(shop):
    sub = build.subscription(shop.db, status="incomplete")
    invoice = shop.opened(sub)
    shop.watch()
    shop.pay(invoice)
    shop.chain.mine(3)
    shop.watch()
    assert shop.status(sub) == "active"
    shop.chain.reorg(4, keep=False)
    shop.watch()
    assert [payment["status"] for payment in shop.payments()] == ["reversed"]
    assert shop.entries() == [("credit", 999), ("debit", -999), ("reversal", -999)]
    assert shop.invoice(invoice["id"])["exception"] == "reversed"
    alerts = build.rows(shop.db, "SELECT rule, severity FROM alert WHERE resolved_at IS NULL")
    assert [tuple(row) for row in alerts] == [("payment_reversed", "critical")]


def test_a_chain_that_began_anew_is_read_anew_and_credited_payments_stand(shop):
    sub = build.subscription(shop.db, status="incomplete")
    shop.pay(shop.opened(sub))
    shop.chain.mine(3)
    shop.watch()
    other = ChainStandIn().start()
    try:
        fresh = settings(other.url)
        door = HttpDoor(allow_private=True)
        other.ledger.mine(2)
        run = build.run(shop.db, "payment_watcher")
        watch.run(run, fresh, chain_readers(fresh, door))
        door.close()
    finally:
        other.stop()
    assert [payment["status"] for payment in shop.payments()] == ["confirmed"]
    alerts = build.rows(shop.db, "SELECT rule FROM alert WHERE resolved_at IS NULL")
    assert [row.rule for row in alerts] == ["chain_rewritten"]
    [cursor] = build.rows(shop.db, "SELECT next_block FROM chain_cursor")
    assert cursor.next_block == 3


def test_a_node_that_lags_behind_changes_nothing(shop):
    shop.chain.mine(5)
    shop.watch()
    [before] = build.rows(shop.db, "SELECT polled_at FROM payment_source WHERE name = 'chain:dev'")
    with shop.node.ledger._lock:
        cut = shop.node.ledger.blocks[-2:]
        del shop.node.ledger.blocks[-2:]
    shop.watch()
    [after] = build.rows(shop.db, "SELECT polled_at, last_error FROM payment_source WHERE name = 'chain:dev'")
    assert (after.polled_at, after.last_error) == (before.polled_at, None)
    with shop.node.ledger._lock:
        shop.node.ledger.blocks += cut
    shop.watch()
    [again] = build.rows(shop.db, "SELECT polled_at FROM payment_source WHERE name = 'chain:dev'")
    assert again.polled_at > before.polled_at


def test_a_look_without_new_blocks_is_one_call(shop):
    shop.watch()
    shop.node.calls.clear()
    shop.watch()
    assert shop.node.calls == ["eth_getBlockByNumber"]


def test_an_old_chain_is_first_read_from_near_its_head(shop):
    shop.chain.mine(1200)
    head = shop.chain.head()
    shop.node.calls.clear()
    shop.watch()
    [cursor] = build.rows(shop.db, "SELECT next_block FROM chain_cursor")
    assert cursor.next_block == head + 1
    blocks = build.rows(shop.db, "SELECT min(number) FROM chain_block")
    assert blocks[0][0] == head - 3


def test_a_long_gap_is_caught_up_in_one_run_with_whole_polls_only(shop):
    sub = build.subscription(shop.db, status="incomplete")
    invoice = shop.opened(sub)
    shop.watch()
    shop.pay(invoice)
    shop.chain.mine(4500)
    shop.watch()
    assert shop.status(sub) == "active"
    [cursor] = build.rows(shop.db, "SELECT next_block, head_block FROM chain_cursor")
    assert cursor.next_block == cursor.head_block + 1
    rows = build.rows(shop.db, "SELECT count(*) FROM chain_block")
    assert rows[0][0] == look.RING


def test_more_transfers_than_one_write_takes_are_read_in_whole_blocks(shop):
    shop.watch()
    for _ in range(3):
        many = [{"to": RECEIVERS[0], "amount_units": n + 1} for n in range(300)]
        shop.node._verbs()["tenure_transfer"]([{"transfers": many}])
    with shop.db.transaction() as session:
        memory = chain_memory.recall(session, "dev")
    sight = look.look(shop.readers["dev"], memory, RECEIVERS, confirmations=3)
    assert (len(sight.transfers), sight.complete) == (300, False)
    shop.watch()
    assert build.rows(shop.db, "SELECT count(*) FROM payment")[0][0] == 900


def test_a_watcher_that_was_ended_between_its_calls_and_its_write_changes_nothing(shop):
    sub = build.subscription(shop.db, status="incomplete")
    invoice = shop.opened(sub)
    shop.watch()
    shop.pay(invoice)
    shop.chain.mine(3)
    run = build.run(shop.db, "payment_watcher")

    class Reader(EvmChain):
        """Loses its iteration after it has read everything."""

        def headers(self, numbers):
            found = super().headers(numbers)
            build.end_runs(shop.db, "payment_watcher")
            return found

    door = HttpDoor(allow_private=True)
    reader = Reader.from_settings(door, shop.settings.chains[0])
    with pytest.raises(IterationOver):
        watch.run(run, shop.settings, {"dev": reader})
    door.close()
    assert shop.payments() == []
    assert shop.status(sub) == "incomplete"
    shop.watch()
    assert shop.status(sub) == "active"
    assert shop.entries() == [("credit", 999), ("debit", -999)]


_KILLED = """
import os, signal, sys
from tenure.iterations.run import Run
from tenure.kit.db import Database
from tenure.kit.http import HttpDoor
from tenure.payments import watch
from tenure.providers.chain.evm import EvmChain
from tests.support.money import settings

class Reader(EvmChain):
    def headers(self, numbers):
        super().headers(numbers)
        print("read", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

url, rpc_url, iteration_id = sys.argv[1:]
made = settings(rpc_url)
reader = Reader.from_settings(HttpDoor(allow_private=True), made.chains[0])
db = Database(url, pool_size=2, application="killed")
run = Run(iteration_id=iteration_id, job="payment_watcher", scope="", db=db, soft_s=20, batch=1000)
watch.run(run, made, {"dev": reader})
"""


@pytest.mark.kill
def test_a_watcher_killed_between_its_calls_and_its_write_loses_and_doubles_nothing(shop):
    sub = build.subscription(shop.db, status="incomplete")
    invoice = shop.opened(sub)
    shop.watch()
    shop.pay(invoice)
    shop.chain.mine(3)
    run = build.run(shop.db, "payment_watcher")
    killed = subprocess.run(
        [sys.executable, "-c", _KILLED, shop.db.url, shop.node.url, run.iteration_id],
        cwd=ROOT,
        env={**environment(), "PYTHONPATH": f"{ROOT / 'platform'}:{ROOT}"},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert (killed.returncode, killed.stdout) == (-signal.SIGKILL, "read\n"), killed.stderr
    assert shop.payments() == []
    shop.watch()
    assert shop.status(sub) == "active"
    assert shop.entries() == [("credit", 999), ("debit", -999)]


def test_a_watcher_that_was_overtaken_writes_nothing(shop):
    shop.chain.mine(2)
    with shop.db.transaction() as session:
        addresses = chain_memory.watched(session, "dev", RECEIVERS)
    sight = look.look(shop.readers["dev"], None, addresses, confirmations=3)
    with shop.db.transaction() as session:
        assert chain_memory.advance(session, "dev", None, sight)
    with shop.db.transaction() as session:
        assert not chain_memory.advance(session, "dev", None, sight)


def test_transfers_of_nothing_and_of_strangers_are_not_payments(shop):
    shop.chain.transfer(RECEIVERS[0], 0)
    shop.chain.transfer("0x" + "99" * 20, 5_000_000)
    shop.chain.mine(3)
    shop.watch()
    assert shop.payments() == []


def test_the_same_on_anvil(db):
    binary = anvil_binary()
    if binary is None:
        pytest.skip("anvil cannot be had here")
    with devchain.run_anvil(binary) as chain:
        made = settings(chain.rpc_url, contract=chain.token, chain_id=chain.chain_id)
        door = HttpDoor(allow_private=True)
        shop = Shop(db, chain, None, made, dict(chain_readers(made, door)))  # type: ignore[arg-type]
        sub = build.subscription(db, status="incomplete")
        invoice = shop.opened(sub)
        shop.watch()
        shop.pay(invoice)
        shop.watch()
        assert shop.invoice(invoice["id"])["confirmations"]["seen"] == 1
        chain.reorg(1, keep=True)
        chain.mine(3)
        shop.watch()
        assert shop.status(sub) == "active"
        assert shop.entries() == [("credit", 999), ("debit", -999)]
        door.close()
