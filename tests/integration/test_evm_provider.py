"""The EVM reader against a real node (anvil, where it can be had) and the simulated chain."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tenure import settings
from tenure.errors import BadSettings, BrokenRule
from tenure.kit.db import Database
from tenure.kit.http import HttpDoor
from tenure.payments.ports import Asset, ChainMoved, ChainUnavailable, WrongChain
from tenure.providers.chain.evm import EvmChain
from tenure.providers.chain.rpc import JsonRpc
from tenure.standins import anvil, devchain, token
from tenure.standins.chain import ChainStandIn
from tenure.standins.devchain import DevChain, Rpc, SimulatedDevChain
from tenure.standins.faults import Fault, FaultKind
from tests.support import devchains
from tests.support.rawserver import RawServer, raw_server
from tests.support.waiting import until

SHOP = "0x" + "Ab" * 20
OTHER = "0x" + "cd" * 20
USDC = Asset("USDC", token.ADDRESS, 6)


@pytest.fixture
def door():
    door = HttpDoor(allow_private=True)
    yield door
    door.close()


def reader(door: HttpDoor, *urls: str, chain_id: int = 31_337) -> EvmChain:
    rpc = JsonRpc(door, name="dev", urls=urls, chain_id=chain_id)
    return EvmChain(rpc, name="dev", assets=[USDC])


@pytest.fixture(params=["simulated", "anvil"])
def dev(request) -> Iterator[DevChain]:
    with contextlib.ExitStack() as stack:
        if request.param == "simulated":
            yield stack.enter_context(devchain.run_simulated())
            return
        binary = devchains.anvil_binary()
        if binary is None:
            pytest.skip("anvil is not in the cache, and npm cannot bring it")
        yield stack.enter_context(devchain.run_anvil(binary))


@pytest.fixture
def node() -> Iterator[ChainStandIn]:
    with ChainStandIn() as node:
        yield node


@pytest.fixture
def control(node) -> Iterator[Rpc]:
    rpc = Rpc(node.url)
    yield rpc
    rpc.close()


def test_a_transfer_is_read_with_its_key_place_and_amount(dev, door):
    chain = reader(door, dev.rpc_url)
    before = chain.head()
    tx_hash = dev.transfer(SHOP, 9_990_123)
    dev.mine(2)
    head = chain.head()
    (transfer,) = chain.transfers(before.number + 1, head.number, [SHOP])
    assert (transfer.tx_hash, transfer.ordinal) == (tx_hash, 0)
    assert (transfer.to, transfer.amount_units, transfer.asset) == (SHOP.lower(), 9_990_123, "USDC")
    assert transfer.contract == token.ADDRESS
    assert transfer.block_number == before.number + 1
    header = chain.headers([transfer.block_number])[transfer.block_number]
    assert header.hash == transfer.block_hash
    assert header.parent_hash == before.hash
    assert head.number == before.number + 3
    assert chain.header_by_hash(header.hash) == header
    assert abs(datetime.now(UTC) - header.timestamp) < timedelta(minutes=1)


def test_amounts_beyond_64_bits_arrive_exactly(dev, door):
    amount = 2**96 + 1
    dev.transfer(SHOP, amount)
    chain = reader(door, dev.rpc_url)
    assert [one.amount_units for one in chain.transfers(0, chain.head().number, [SHOP])] == [amount]


def test_only_the_watched_addresses_and_blocks_are_read(dev, door):
    chain = reader(door, dev.rpc_url)
    dev.transfer(OTHER, 1)
    first = dev.transfer(SHOP, 2)
    middle = chain.head().number
    dev.transfer(SHOP, 3)
    head = chain.head().number
    assert [one.tx_hash for one in chain.transfers(0, middle, [SHOP])] == [first]
    assert [one.amount_units for one in chain.transfers(0, head, [OTHER, SHOP])] == [1, 2, 3]
    with pytest.raises(ChainUnavailable, match="does not have the block yet"):
        chain.transfers(head + 1, head + 10, [SHOP])
    assert chain.transfers(0, head, []) == ()
    assert chain.transfers(head, 0, [SHOP]) == ()


def test_a_transaction_is_found_by_its_hash(dev, door):
    chain = reader(door, dev.rpc_url)
    tx_hash = dev.transfer(SHOP, 7)
    found = chain.transfers_in(tx_hash, [SHOP])
    assert found is not None
    assert [one.amount_units for one in found] == [7]
    assert found == chain.transfers(0, chain.head().number, [SHOP])
    assert chain.transfers_in(tx_hash, [OTHER]) == ()
    assert chain.transfers_in("0x" + "00" * 32, [SHOP]) is None
    assert chain.transfers_in("no hash", [SHOP]) is None


def test_heights_above_the_head_are_left_out(dev, door):
    chain = reader(door, dev.rpc_url)
    head = dev.mine(3)
    assert sorted(chain.headers([head, head - 1, head + 1, head])) == [head - 1, head]
    assert chain.headers([]) == {}
    assert chain.header_by_hash("0x" + "12" * 32) is None


def test_after_a_reorg_the_same_payment_has_the_same_key_and_another_place(dev, door):
    chain = reader(door, dev.rpc_url)
    dev.mine(2)
    dev.transfer(SHOP, 5)
    (before,) = chain.transfers(0, chain.head().number, [SHOP])
    dev.reorg(1)
    (after,) = chain.transfers(0, chain.head().number, [SHOP])
    assert (before.tx_hash, before.ordinal) == (after.tx_hash, after.ordinal)
    assert before.block_hash != after.block_hash
    gone = chain.header_by_hash(before.block_hash)
    assert gone is None or chain.headers([gone.number])[gone.number].hash != gone.hash


def test_after_a_reorg_without_it_the_payment_is_gone(dev, door):
    chain = reader(door, dev.rpc_url)
    dev.mine(2)
    tx_hash = dev.transfer(SHOP, 5)
    dev.reorg(1, keep=False)
    assert chain.transfers(0, chain.head().number, [SHOP]) == ()
    assert chain.transfers_in(tx_hash, [SHOP]) is None


def test_the_test_token_keeps_balances_on_a_real_node():
    binary = devchains.anvil_binary()
    if binary is None:
        pytest.skip("anvil is not in the cache, and npm cannot bring it")
    with devchain.run_anvil(binary) as chain:
        assert isinstance(chain, devchain.AnvilDevChain)
        chain.transfer(SHOP, 40)
        chain.transfer(SHOP, 2)
        assert chain.balance(SHOP) == 42
        again = devchain.connect(chain.rpc_url)
        assert isinstance(again, devchain.AnvilDevChain)
        assert again.balance(SHOP) == 42


def test_two_nodes_of_one_state_file_go_on_where_the_first_ended(tmp_path: Path):
    binary = devchains.anvil_binary()
    if binary is None:
        pytest.skip("anvil is not in the cache, and npm cannot bring it")
    heads = []
    for _ in range(2):
        with anvil.Anvil(binary, state=tmp_path / "state.json") as node:
            chain = devchain.connect(node.url)
            heads.append(chain.head())
            chain.transfer(SHOP, 1)
    assert heads == [0, 1]


def test_the_ordinal_counts_all_transfers_of_the_transaction(control, door, node):
    parts = [{"to": OTHER, "amount_units": 1}, {"to": SHOP, "amount_units": 2}]
    parts += [{"to": SHOP, "amount_units": 3, "contract": "0x" + "99" * 20}, {"to": SHOP, "amount_units": 4}]
    control.ask("tenure_transfer", {"transfers": parts})
    chain = reader(door, node.url)
    assert [(one.ordinal, one.amount_units) for one in chain.transfers(0, 1, [SHOP])] == [(1, 2), (3, 4)]
    assert [one.ordinal for one in chain.transfers(0, 1, [SHOP, OTHER])] == [0, 1, 3]


def test_a_reorg_that_moves_the_log_index_leaves_the_key(control, door, node):
    chain = reader(door, node.url)
    control.ask("tenure_mine")
    control.ask("tenure_transfer", {"to": SHOP, "amount_units": 1})
    (before,) = chain.transfers(0, chain.head().number, [SHOP])
    control.ask("tenure_reorg", {"depth": 1, "shift": True})
    (after,) = chain.transfers(0, chain.head().number, [SHOP])
    assert (before.log_index, after.log_index) == (0, 1)
    assert (before.tx_hash, before.ordinal) == (after.tx_hash, after.ordinal)


def test_failed_and_empty_transfers_are_no_payments(control, door, node):
    control.ask("tenure_transfer", {"to": SHOP, "amount_units": 0})
    failed = control.ask("tenure_transfer", {"transfers": [{"to": SHOP, "amount_units": 5}], "ok": False})
    chain = reader(door, node.url)
    assert chain.transfers(0, chain.head().number, [SHOP]) == ()
    assert chain.transfers_in(failed, [SHOP]) is None


def test_a_waiting_transaction_is_not_found_yet(control, door, node):
    control.ask("tenure_automine", {"on": False})
    tx_hash = control.ask("tenure_transfer", {"to": SHOP, "amount_units": 5})
    chain = reader(door, node.url)
    assert chain.transfers_in(tx_hash, [SHOP]) is None
    control.ask("tenure_mine")
    assert chain.transfers_in(tx_hash, [SHOP]) is not None


def test_an_idle_read_of_new_blocks_is_two_calls(control, door, node):
    chain = reader(door, node.url)
    chain.head()
    node.calls.clear()
    head = chain.head()
    chain.transfers(0, head.number, [SHOP])
    assert node.calls == ["eth_getBlockByNumber", "eth_getLogs"]


def test_only_the_methods_of_the_contract_are_called(control, door, node):
    control.ask("tenure_transfer", {"to": SHOP, "amount_units": 5})
    node.calls.clear()
    chain = reader(door, node.url)
    (transfer,) = chain.transfers(0, chain.head().number, [SHOP])
    chain.headers(range(3))
    chain.header_by_hash(transfer.block_hash)
    chain.transfers_in(transfer.tx_hash, [SHOP])
    assert set(node.calls) <= {
        "eth_chainId",
        "eth_blockNumber",
        "eth_getBlockByNumber",
        "eth_getBlockByHash",
        "eth_getLogs",
        "eth_getTransactionReceipt",
    }


@pytest.mark.parametrize(
    "limits", [{"span": 7}, {"logs": 3}, {"batch": 4}, {"span": 9, "logs": 2, "batch": 1}]
)
def test_a_node_with_limits_is_asked_for_less_until_everything_is_read(control, door, node, limits):
    for amount in range(1, 31):
        control.ask("tenure_transfer", {"to": SHOP, "amount_units": amount})
    control.ask("tenure_mine", {"blocks": 50})
    control.ask("tenure_limits", limits)
    chain = reader(door, node.url)
    found = chain.transfers(0, chain.head().number, [SHOP])
    assert [one.amount_units for one in found] == list(range(1, 31))
    assert len(chain.headers(range(40))) == 40


def test_a_block_that_is_too_large_for_the_node_is_reported(control, door, node):
    control.ask("tenure_transfer", {"transfers": [{"to": SHOP, "amount_units": n} for n in (1, 2, 3)]})
    control.ask("tenure_limits", {"logs": 2})
    with pytest.raises(ChainUnavailable, match="not even one block"):
        reader(door, node.url).transfers(0, 1, [SHOP])


def test_many_addresses_are_asked_for_in_pieces(control, door, node):
    addresses = [f"0x{number:040x}" for number in range(1, 1201)]
    for address in (addresses[0], addresses[600], addresses[-1]):
        control.ask("tenure_transfer", {"to": address, "amount_units": 1})
    chain = reader(door, node.url)
    node.calls.clear()
    assert len(chain.transfers(0, 5, addresses)) == 3
    assert node.calls.count("eth_getLogs") == 3


def test_another_node_answers_for_one_that_is_down(control, door, node):
    with ChainStandIn() as down:
        dead_url = down.url
    chain = reader(door, dead_url, node.url)
    assert chain.head().number == 0

    def quick() -> bool:
        began = time.monotonic()
        chain.head()
        return time.monotonic() - began < 5

    until(quick, 60, what="the one that is down holds nobody up")  # a stalled machine may, now and then


@pytest.mark.parametrize(
    "fault",
    [Fault(FaultKind.STATUS, status=502), Fault(FaultKind.STATUS, status=429), Fault(FaultKind.DROP)],
)
def test_another_node_answers_for_one_that_fails_for_a_moment(door, node, fault):
    with ChainStandIn() as second:
        second.ledger.mine(5)
        chain = reader(door, node.url, second.url)
        assert chain.head().number == 0
        node.faults.plan(fault)
        assert chain.head().number == 5
        assert node.faults.hits == {fault.kind: 1}
        assert chain.head().number == 5  # it stays with the one that answered


def test_a_node_of_another_chain_is_never_believed(door, node):
    with ChainStandIn(chain_id=5) as foreign:
        with pytest.raises(WrongChain, match="chain 5, not 31337"):
            reader(door, foreign.url).head()
        assert reader(door, foreign.url, node.url).head().number == 0
        assert set(foreign.calls) == {"eth_chainId"}


def test_no_node_at_all_is_unavailable_and_shows_no_key_of_the_url(door, node):
    node.stop()
    with pytest.raises(ChainUnavailable) as caught:
        reader(door, node.url + "/v3/SECRET-KEY").head()
    assert "SECRET-KEY" not in str(caught.value)
    assert "refused" in str(caught.value)


def test_a_block_replaced_between_the_questions_is_noticed(door):
    """A node whose chain moves after each answer to eth_getLogs."""

    class Moving(ChainStandIn):
        def _logs(self, query):
            found = super()._logs(query)
            self.ledger.reorganize(1, keep=True)
            return found

    with Moving() as node:
        control = Rpc(node.url)
        control.ask("tenure_mine")
        control.ask("tenure_transfer", {"to": SHOP, "amount_units": 1})
        with pytest.raises(ChainMoved):
            reader(door, node.url).transfers(0, 2, [SHOP])
        control.close()


GARBAGE = [
    b"",
    b"<html>",
    b"null",
    b"[]",
    b"{}",
    b'{"jsonrpc":"2.0","id":0}',
    b'{"jsonrpc":"2.0","id":7,"result":{}}',
    b'{"jsonrpc":"2.0","id":0,"result":[]}',
    b'{"jsonrpc":"2.0","id":0,"result":{"number":"0x1"}}',
    b'{"jsonrpc":"2.0","id":0,"result":{"number":"zz","hash":1,"parentHash":null,"timestamp":"0x"}}',
    b'{"jsonrpc":"2.0","id":0,"result":{"number":"0x1","hash":"0x1","parentHash":"0x1","timestamp":"0x1"}}',
    b'{"jsonrpc":"2.0","id":0,"error":{"code":-32000,"message":"internal"}}',
    b'{"jsonrpc":"2.0","id":0,"error":"text"}',
]


@pytest.mark.parametrize("garbage", GARBAGE)
def test_garbage_from_a_node_is_unavailable_and_never_a_payment(door, garbage):
    def behave(server: RawServer, connection) -> None:
        while request := server.read_request(connection):
            asked = json.loads(request.partition(b"\r\n\r\n")[2])
            body = garbage
            if isinstance(asked, dict) and asked["method"] == "eth_chainId":
                body = b'{"jsonrpc":"2.0","id":0,"result":"0x7a69"}'
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    with raw_server(behave) as server:
        chain = reader(door, server.url)
        with pytest.raises(ChainUnavailable):
            chain.head()
        with contextlib.suppress(ChainUnavailable):
            assert chain.transfers(0, 5, [SHOP]) == ()


def test_nothing_is_asked_while_a_transaction_is_open(door, node, database_url):
    database = Database(database_url, pool_size=1, application="test")
    with database.transaction(), pytest.raises(BrokenRule):
        reader(door, node.url).head()
    database.close()
    assert node.calls == []


def chain_settings(**changes) -> settings.Chain:
    asset = settings.Asset(symbol="USDC", contract=token.ADDRESS, decimals=6)
    given = {"name": "dev", "kind": "evm", "chain_id": 31_337, "rpc_urls": ("http://127.0.0.1:1",)}
    given |= {"confirmations": 3, "assets": (asset,), "addresses": (SHOP,)}
    return settings.Chain.model_validate({**given, **changes})


def test_it_is_made_from_the_settings(door, node):
    chain = EvmChain.from_settings(door, chain_settings(rpc_urls=(node.url,)))
    assert (chain.name, chain.head().number) == ("dev", 0)


def test_the_chains_own_coin_is_a_settings_error_that_says_so(door):
    coin = settings.Asset(symbol="ETH", contract=None, decimals=18)
    with pytest.raises(BadSettings, match="asset ETH"):
        EvmChain.from_settings(door, chain_settings(assets=(coin,)))


def test_a_simulated_chain_goes_on_from_its_file(tmp_path: Path):
    file = tmp_path / "chain.jsonl"
    with ChainStandIn(file=file) as first:
        first.ledger.mine(4)
        SimulatedDevChain(Rpc(first.url)).transfer(SHOP, 3)
        first.ledger.reorganize(2)
        blocks = list(first.ledger.blocks)
    with file.open("a") as torn:
        torn.write('{"block": {"num')
    with ChainStandIn(file=file) as second:
        assert second.ledger.blocks == blocks
        assert second.ledger.mine().number == blocks[-1].number + 1


def test_with_a_block_time_the_simulated_chain_mines_by_itself(door):
    with ChainStandIn(block_time_s=0.02) as node:
        until(lambda: node.ledger.head.number > 3, what="three blocks")


def test_where_npm_brings_nothing_the_simulated_chain_serves(tmp_path: Path):
    assert anvil.install(tmp_path, npm=["/nonexistent/npm"]) is None
    assert anvil.install(tmp_path, npm=["false"]) is None
    assert list(tmp_path.iterdir()) == []
    with devchain.run(tmp_path, npm=["false"]) as chain:
        assert isinstance(chain, SimulatedDevChain)
        chain.transfer(SHOP, 1)
        assert isinstance(devchain.connect(chain.rpc_url), SimulatedDevChain)
