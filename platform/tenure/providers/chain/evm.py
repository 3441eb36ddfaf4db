"""Reads an EVM chain over plain JSON-RPC: headers, and ERC-20 transfers to our addresses.

A Transfer log needs no ABI library: the receiver is the second indexed topic, the amount is the data. Nothing
else than the six methods of the contract is called.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final, Self

from tenure import settings
from tenure.errors import BadSettings, FieldError
from tenure.kit.http import HttpDoor
from tenure.payments.ports import Asset, ChainMoved, ChainUnavailable, Header, Transfer
from tenure.providers.chain.rpc import AskLess, JsonRpc

# keccak-256 of "Transfer(address,address,uint256)".
TRANSFER_TOPIC: Final = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"

_TOPICS: Final = 3  # the event's name, from, to: a token with the amount indexed (NFTs) has four
_WORD: Final = re.compile(r"0x[0-9a-f]{64}")
_WIDEST_SPAN: Final = 2_000
_MOST_ADDRESSES: Final = 500
_SUCCESS: Final = 1

Log = Mapping[str, Any]


class EvmChain:
    """A ChainReader of one EVM chain."""

    def __init__(self, rpc: JsonRpc, *, name: str, assets: Sequence[Asset]) -> None:
        """Only transfers of these assets are seen."""
        self._rpc = rpc
        self._name = name
        self._assets = {asset.contract.lower(): asset for asset in assets}
        self._span = _WIDEST_SPAN

    @classmethod
    def from_settings(
        cls, door: HttpDoor, chain: settings.Chain, *, doors: Sequence[HttpDoor] | None = None
    ) -> Self:
        """The chain as the settings name it; `doors`: one for each of its RPC URLs, instead of `door`.

        Raises BadSettings for an asset that is no token.
        """
        assets = []
        for asset in chain.assets:
            if asset.contract is None:
                message = (
                    f"chain {chain.name}, asset {asset.symbol}: contract is null, but the chain's own coin "
                    "cannot be received yet, only ERC-20 tokens"
                )
                raise BadSettings(message, errors=[FieldError("TENURE_CHAINS", "unsupported", message)])
            assets.append(Asset(asset.symbol, asset.contract.lower(), asset.decimals))
        rpc = JsonRpc(door, name=chain.name, urls=chain.rpc_urls, chain_id=chain.chain_id, doors=doors)
        return cls(rpc, name=chain.name, assets=assets)

    @property
    def name(self) -> str:
        return self._name

    def head(self) -> Header:
        told = self._rpc.call("eth_getBlockByNumber", "latest", False)  # noqa: FBT003 - the protocol's order
        with self._reading():
            return _header(told)

    def headers(self, numbers: Iterable[int]) -> dict[int, Header]:
        wanted = sorted(set(numbers))
        told = self._rpc.batch([("eth_getBlockByNumber", [hex(number), False]) for number in wanted])
        with self._reading():
            found = [_header(block) for block in told if block is not None]
            by_number = {header.number: header for header in found}
            if not set(by_number) <= set(wanted):
                raise ValueError("another block than the one asked for")
        return by_number

    def header_by_hash(self, block_hash: str) -> Header | None:
        told = self._rpc.call("eth_getBlockByHash", block_hash, False)  # noqa: FBT003 - the protocol's order
        with self._reading():
            return _header(told) if told is not None else None

    def transfers(self, first: int, last: int, addresses: Sequence[str]) -> tuple[Transfer, ...]:
        watched = {address.lower() for address in addresses}
        if first > last or not watched or not self._assets:
            return ()
        logs = self._logs(first, last, sorted(watched))
        with self._reading():
            places = {(_lower(log, "transactionHash"), _lower(log, "blockHash")) for log in logs}
        receipts = self._rpc.batch(
            [("eth_getTransactionReceipt", [tx_hash]) for tx_hash, _ in sorted(places)]
        )
        found: list[Transfer] = []
        for (_, block_hash), receipt in zip(sorted(places), receipts, strict=True):
            with self._reading():
                if receipt is None or _lower(receipt, "blockHash") != block_hash:
                    raise ChainMoved(f"{self.name}: a transaction moved while it was read")
                found += self._matching(receipt, watched)
        self._prove_canonical(found)
        return tuple(sorted(found, key=lambda one: (one.block_number, one.log_index)))

    def transfers_in(self, tx_hash: str, addresses: Sequence[str]) -> tuple[Transfer, ...] | None:
        if not _WORD.fullmatch(tx_hash.lower()):
            return None
        receipt = self._rpc.call("eth_getTransactionReceipt", tx_hash.lower())
        with self._reading():
            if receipt is None or _number(receipt, "status") != _SUCCESS:
                return None
            found = self._matching(receipt, {address.lower() for address in addresses})
        self._prove_canonical(found)
        return tuple(found)

    def _logs(self, first: int, last: int, addresses: Sequence[str]) -> list[Log]:
        logs: list[Log] = []
        for place in range(0, len(addresses), _MOST_ADDRESSES):
            logs += self._logs_of(first, last, addresses[place : place + _MOST_ADDRESSES])
        return logs

    def _logs_of(self, first: int, last: int, addresses: Sequence[str]) -> list[Log]:
        """Range by range; a node that wants less gets half, and the width that worked is remembered."""
        receivers = ["0x" + address.removeprefix("0x").rjust(64, "0") for address in addresses]
        question: dict[str, Any] = {
            "address": sorted(self._assets),
            "topics": [TRANSFER_TOPIC, None, receivers],
        }
        logs: list[Log] = []
        start = first
        while start <= last:
            end = min(last, start + self._span - 1)
            try:
                told = self._rpc.call(
                    "eth_getLogs", {**question, "fromBlock": hex(start), "toBlock": hex(end)}
                )
            except AskLess as error:
                if end == start:
                    raise ChainUnavailable(f"{self.name}: not even one block's logs: {error}") from None
                self._span = (end - start + 1) // 2
                continue
            with self._reading():
                logs += [log for log in told if start <= _number(log, "blockNumber") <= end]
            start = end + 1
            self._span = min(self._span + max(1, self._span // 10), _WIDEST_SPAN)
        return logs

    def _matching(self, receipt: Log, watched: set[str]) -> list[Transfer]:
        """The receipt's transfers to the addresses, each with its place among all transfers in it."""
        if _number(receipt, "status") != _SUCCESS:
            return []
        events = [log for log in receipt["logs"] if _is_transfer(log)]
        events.sort(key=lambda log: _number(log, "logIndex"))
        found = []
        for ordinal, log in enumerate(events):
            asset = self._assets.get(_lower(log, "address"))
            to, amount = "0x" + log["topics"][2][-40:].lower(), int(log["data"], 16)
            if asset is None or to not in watched or amount == 0 or log.get("removed"):
                continue
            found.append(
                Transfer(
                    tx_hash=_lower(receipt, "transactionHash"),
                    ordinal=ordinal,
                    log_index=_number(log, "logIndex"),
                    block_number=_number(receipt, "blockNumber"),
                    block_hash=_lower(receipt, "blockHash"),
                    to=to,
                    amount_units=amount,
                    asset=asset.symbol,
                    contract=asset.contract,
                )
            )
        return found

    def _prove_canonical(self, found: Sequence[Transfer]) -> None:
        """Logs, receipts and headers are read one after another: the chain may have moved between them."""
        headers = self.headers(one.block_number for one in found)
        for one in found:
            header = headers.get(one.block_number)
            if header is None or header.hash != one.block_hash:
                raise ChainMoved(f"{self.name}: block {one.block_number} was replaced while it was read")

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Nodes are strangers: an answer of another shape means that there is no useful answer."""
        try:
            yield
        except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise ChainUnavailable(f"{self.name}: a node's answer is malformed ({error!r:.100})") from None


def _header(block: Log) -> Header:
    return Header(
        number=_number(block, "number"),
        hash=_word(block, "hash"),
        parent_hash=_word(block, "parentHash"),
        timestamp=datetime.fromtimestamp(_number(block, "timestamp"), UTC),
    )


def _is_transfer(log: Log) -> bool:
    topics = log["topics"]
    return (
        len(topics) == _TOPICS
        and str(topics[0]).lower() == TRANSFER_TOPIC
        and all(_WORD.fullmatch(str(topic).lower()) for topic in topics)
        and _WORD.fullmatch(str(log["data"]).lower()) is not None
    )


def _number(thing: Log, field: str) -> int:
    return int(thing[field], 16)


def _lower(thing: Log, field: str) -> str:
    text: str = thing[field].lower()
    return text


def _word(thing: Log, field: str) -> str:
    text = _lower(thing, field)
    if not _WORD.fullmatch(text):
        raise ValueError(f"{field} is no hash")
    return text
