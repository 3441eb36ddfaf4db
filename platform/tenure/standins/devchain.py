"""A development chain that can be told what to do: anvil where it can be had, else the simulated chain.

Both hold one test token (6 decimals) and pay it to anybody. `connect` gives the controls of a chain that runs
somewhere; `run` starts one for a block of code.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Protocol

from tenure.errors import Permanent, Unavailable
from tenure.kit import clock
from tenure.kit.http import HttpDoor
from tenure.standins import anvil
from tenure.standins.chain import ChainStandIn
from tenure.standins.token import ADDRESS, BALANCE_OF_SELECTOR, DECIMALS, bytecode, slot_of, transfer_data

_RECEIPT_S: Final = 10.0
_STEP_S: Final = 0.01
# More than any test or demonstration pays out, and far from an overflow.
_TREASURY: Final = 10**30


class DevChain(Protocol):
    """What tests and the demonstration need of a chain, whichever it is."""

    rpc_url: str
    chain_id: int
    token: str
    decimals: int

    def head(self) -> int:
        """The newest block's number."""
        ...

    def mine(self, blocks: int = 1) -> int:
        """Mine that many blocks; returns the new head's number."""
        ...

    def transfer(self, to: str, amount_units: int) -> str:
        """Pay the test token; returns the transaction's hash once it lies in a block."""
        ...

    def reorg(self, depth: int, *, keep: bool = True) -> None:
        """Replace the last blocks; their transactions come back in the new ones, or never."""
        ...


class Rpc:
    """Plain JSON-RPC for controls: errors are raised."""

    def __init__(self, url: str) -> None:
        """Asks nothing yet."""
        self.url = url
        self._door = HttpDoor(allow_private=True)

    def ask(self, method: str, *params: Any) -> Any:
        """One call's result. Raises Permanent with the node's words, or Unavailable."""
        question = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}
        told = self._door.request("POST", self.url, json=question).json()
        if told.get("error") is not None:
            raise Permanent(f"{method}: {told['error'].get('message')}")
        return told["result"]

    def close(self) -> None:
        """Give the connection back."""
        self._door.close()


class SimulatedDevChain:
    """The controls of `standins.chain`."""

    token = ADDRESS
    decimals = DECIMALS

    def __init__(self, rpc: Rpc) -> None:
        """Asks for the chain's id."""
        self._rpc = rpc
        self.rpc_url = rpc.url
        self.chain_id = int(rpc.ask("eth_chainId"), 16)

    def head(self) -> int:
        return int(self._rpc.ask("eth_blockNumber"), 16)

    def mine(self, blocks: int = 1) -> int:
        return int(self._rpc.ask("tenure_mine", {"blocks": blocks}), 16)

    def transfer(self, to: str, amount_units: int) -> str:
        tx_hash: str = self._rpc.ask("tenure_transfer", {"to": to, "amount_units": str(amount_units)})
        return tx_hash

    def reorg(self, depth: int, *, keep: bool = True) -> None:
        self._rpc.ask("tenure_reorg", {"depth": depth, "keep": keep, "shift": keep})


class AnvilDevChain:
    """The controls of anvil; the test token is put there when it is missing."""

    token = ADDRESS
    decimals = DECIMALS

    def __init__(self, rpc: Rpc) -> None:
        """Asks for the chain's id and its first account, which pays."""
        self._rpc = rpc
        self.rpc_url = rpc.url
        self.chain_id = int(rpc.ask("eth_chainId"), 16)
        self._payer: str = rpc.ask("eth_accounts")[0]
        if rpc.ask("eth_getCode", self.token, "latest") == "0x":
            rpc.ask("anvil_setCode", self.token, bytecode())
            rpc.ask("anvil_setStorageAt", self.token, slot_of(self._payer), f"0x{_TREASURY:064x}")

    def head(self) -> int:
        return int(self._rpc.ask("eth_blockNumber"), 16)

    def mine(self, blocks: int = 1) -> int:
        self._rpc.ask("anvil_mine", hex(blocks))
        return self.head()

    def transfer(self, to: str, amount_units: int) -> str:
        data = transfer_data(to, amount_units)
        tx_hash: str = self._rpc.ask(
            "eth_sendTransaction", {"from": self._payer, "to": self.token, "data": data, "gas": hex(200_000)}
        )
        receipt = self._mined(tx_hash)
        if int(receipt["status"], 16) != 1:
            raise Permanent(f"the transfer {tx_hash} failed on the chain")
        return tx_hash

    def balance(self, account: str) -> int:
        """What the account holds of the test token."""
        data = f"0x{BALANCE_OF_SELECTOR}{slot_of(account).removeprefix('0x')}"
        return int(self._rpc.ask("eth_call", {"to": self.token, "data": data}, "latest"), 16)

    def reorg(self, depth: int, *, keep: bool = True) -> None:
        again: list[Any] = []
        if keep:
            for number in range(self.head() - depth + 1, self.head() + 1):
                block = self._rpc.ask("eth_getBlockByNumber", hex(number), False)  # noqa: FBT003 - the protocol's
                again += [
                    [self._rpc.ask("eth_getRawTransactionByHash", tx_hash), 0]
                    for tx_hash in block["transactions"]
                ]
        self._rpc.ask("anvil_reorg", depth, again)

    def _mined(self, tx_hash: str) -> dict[str, Any]:
        # Mining is asynchronous there: the answer to a transaction does not mean that it lies in a block.
        deadline = clock.monotonic() + _RECEIPT_S
        pause = threading.Event()
        while True:
            receipt: dict[str, Any] | None = self._rpc.ask("eth_getTransactionReceipt", tx_hash)
            if receipt is not None:
                return receipt
            if clock.monotonic() > deadline:
                raise Unavailable(f"{tx_hash} was not mined within {_RECEIPT_S:.0f} s")
            pause.wait(_STEP_S)


def connect(rpc_url: str) -> DevChain:
    """The controls of the development chain at this URL, whichever kind it is."""
    rpc = Rpc(rpc_url)
    if str(rpc.ask("web3_clientVersion")).startswith("anvil"):
        return AnvilDevChain(rpc)
    return SimulatedDevChain(rpc)


@contextmanager
def run_anvil(binary: Path, *, port: int = 0) -> Iterator[DevChain]:
    """Anvil, for the block's time."""
    with anvil.Anvil(binary, port=port) as node:
        rpc = Rpc(node.url)
        try:
            yield AnvilDevChain(rpc)
        finally:
            rpc.close()


@contextmanager
def run_simulated(*, port: int = 0) -> Iterator[DevChain]:
    """The simulated chain, for the block's time."""
    with ChainStandIn(port=port) as node:
        rpc = Rpc(node.url)
        try:
            yield SimulatedDevChain(rpc)
        finally:
            rpc.close()


@contextmanager
def run(cache: Path, *, npm: Sequence[str] | None = None, port: int = 0) -> Iterator[DevChain]:
    """Anvil when it lies in the cache or npm can fetch it, otherwise the simulated chain."""
    binary = anvil.find(cache) or (anvil.install(cache, npm=npm) if npm is not None else None)
    with run_simulated(port=port) if binary is None else run_anvil(binary, port=port) as chain:
        yield chain
