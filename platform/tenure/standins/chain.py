"""A stand-in for an EVM node: the six read methods over JSON-RPC, and verbs that make things happen.

Verbs: `tenure_transfer {contract?, to, amount_units}` (or `{transfers: […], ok?}` in one transaction),
`tenure_mine {blocks}`, `tenure_reorg {depth, keep?, shift?}`, `tenure_automine {on}` and
`tenure_limits {span?, logs?, batch?}`, which makes the node refuse larger questions.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

from tenure.errors import Invalid
from tenure.standins import token
from tenure.standins.httpserver import HttpStandIn, Reply, Request, run_until_stopped
from tenure.standins.ledger import Block, Ledger, Move, Transaction

DEV_CHAIN_ID: Final = 31_337
_BAD_PARAMS: Final = -32602
_NO_METHOD: Final = -32601
_LIMIT: Final = -32005


@dataclass(slots=True)
class Limits:
    """What the node answers at most; None is no limit."""

    span: int | None = None
    logs: int | None = None
    batch: int | None = None


class _RpcError(Exception):
    """An error answer of JSON-RPC."""

    def __init__(self, code: int, message: str) -> None:
        """As the protocol has it."""
        self.body = {"code": code, "message": message}
        super().__init__(message)


class ChainStandIn(HttpStandIn):
    """One node of a simulated chain. It mines a block for each transfer, unless told otherwise."""

    def __init__(
        self,
        *,
        chain_id: int = DEV_CHAIN_ID,
        port: int = 0,
        host: str = "127.0.0.1",
        block_time_s: float | None = None,
        file: Path | None = None,
    ) -> None:
        """With a block time it also mines by itself; with a file it goes on where it ended."""
        self.ledger = Ledger(file)
        self.chain_id = chain_id
        self.limits = Limits()
        self.calls: list[str] = []
        self._automine = True
        self._block_time_s = block_time_s
        self._miner: threading.Thread | None = None
        super().__init__(port=port, host=host)

    def start(self) -> ChainStandIn:
        """Serve, and mine by the clock if there is a block time."""
        if self._block_time_s is not None:
            self._miner = threading.Thread(target=self._mine_forever, args=(self._block_time_s,), daemon=True)
            self._miner.start()
        super().start()
        return self

    def stop(self) -> None:
        """Neither serves nor mines after this."""
        super().stop()
        if self._miner is not None:
            self._miner.join()
            self._miner = None

    def answer(self, request: Request) -> Reply:
        if request.method != "POST":
            return Reply(405, {"error": "POST JSON-RPC"}, {"Allow": "POST"})
        fault = self.faults.take()
        return self.suffer(fault, lambda: Reply(200, self._answered(request.json())))

    def _answered(self, question: Any) -> Any:
        if not isinstance(question, list):
            return self._one(question)
        if self.limits.batch is not None and len(question) > self.limits.batch:
            error = {"code": _LIMIT, "message": f"batch limit is {self.limits.batch}"}
            return {"jsonrpc": "2.0", "id": None, "error": error}
        return [self._one(one) for one in question]

    def _one(self, call: Any) -> dict[str, Any]:
        if not isinstance(call, dict):
            return {"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": "invalid request"}}
        method = str(call.get("method"))
        self.calls.append(method)
        head = {"jsonrpc": "2.0", "id": call.get("id")}
        verb = self._verbs().get(method)
        if verb is None:
            return {**head, "error": {"code": _NO_METHOD, "message": f"there is no method {method}"}}
        try:
            return {**head, "result": verb(call.get("params", []))}
        except _RpcError as error:
            return {**head, "error": error.body}
        except (Invalid, KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            return {**head, "error": {"code": _BAD_PARAMS, "message": f"invalid params: {error}"}}

    def _verbs(self) -> dict[str, Callable[[Any], Any]]:
        return {
            "web3_clientVersion": lambda _: "tenure-standin",
            "eth_chainId": lambda _: hex(self.chain_id),
            "eth_blockNumber": lambda _: hex(self.ledger.head.number),
            "eth_getBlockByNumber": lambda p: _block_json(self.ledger.by_number(self._height(p[0]))),
            "eth_getBlockByHash": lambda p: _block_json(self.ledger.by_hash(p[0].lower())),
            "eth_getLogs": lambda p: self._logs(p[0]),
            "eth_getTransactionReceipt": lambda p: self._receipt(p[0].lower()),
            "tenure_mine": lambda p: hex(self.ledger.mine(int(_named(p).get("blocks", 1))).number),
            "tenure_transfer": lambda p: self._transfer(_named(p)),
            "tenure_reorg": lambda p: self.ledger.reorganize(**_named(p)).hash,
            "tenure_automine": lambda p: self._set_automine(bool(_named(p)["on"])),
            "tenure_limits": lambda p: self._set_limits(_named(p)),
        }

    def _transfer(self, given: dict[str, Any]) -> str:
        parts = given.get("transfers", [given])
        moves = [
            Move(
                contract=str(part.get("contract") or token.ADDRESS).lower(),
                to=str(part["to"]).lower(),
                amount_units=int(part["amount_units"]),
            )
            for part in parts
        ]
        tx_hash = self.ledger.submit(moves, ok=bool(given.get("ok", True)))
        if self._automine:
            self.ledger.mine()
        return tx_hash

    def _set_automine(self, on: bool) -> bool:
        self._automine = on
        return on

    def _set_limits(self, given: dict[str, Any]) -> None:
        self.limits = Limits(**given)

    def _height(self, tag: str) -> int:
        named = {"latest": self.ledger.head.number, "pending": self.ledger.head.number, "earliest": 0}
        return named[tag] if tag in named else int(tag, 16)

    def _logs(self, query: dict[str, Any]) -> list[dict[str, Any]]:
        if "blockHash" in query:
            block = self.ledger.by_hash(query["blockHash"].lower())
            if block is None:
                raise _RpcError(-32000, "unknown block")
            blocks = [block]
        else:
            first = self._height(query.get("fromBlock", "latest"))
            last = self._height(query.get("toBlock", "latest"))
            if first > self.ledger.head.number:
                raise _RpcError(-32602, f"block height is below the requested {first}")
            if self.limits.span is not None and last - first + 1 > self.limits.span:
                raise _RpcError(_LIMIT, f"query exceeds max block range {self.limits.span}")
            blocks = self.ledger.between(first, last)
        found = [log for block in blocks for log in _logs_of(block) if _matches(log, query)]
        if self.limits.logs is not None and len(found) > self.limits.logs:
            raise _RpcError(_LIMIT, f"query returned more than {self.limits.logs} results")
        return found

    def _receipt(self, tx_hash: str) -> dict[str, Any] | None:
        block = self.ledger.place_of(tx_hash)
        if block is None:
            return None
        place = next(n for n, one in enumerate(block.transactions) if one.hash == tx_hash)
        return {
            "transactionHash": tx_hash,
            "transactionIndex": hex(place),
            "blockHash": block.hash,
            "blockNumber": hex(block.number),
            "status": "0x1" if block.transactions[place].ok else "0x0",
            "logs": [log for log in _logs_of(block) if log["transactionHash"] == tx_hash],
        }

    def _mine_forever(self, every_s: float) -> None:
        while not self.stopping.wait(every_s):
            self.ledger.mine()


def _named(params: Any) -> dict[str, Any]:
    """Verbs take one object, alone or as the only positional parameter."""
    given = params[0] if isinstance(params, list) and params else params
    return given if isinstance(given, dict) else {}


def _block_json(block: Block | None) -> dict[str, Any] | None:
    if block is None:
        return None
    return {
        "number": hex(block.number),
        "hash": block.hash,
        "parentHash": block.parent_hash,
        "timestamp": hex(block.timestamp),
        "transactions": [one.hash for one in block.transactions],
    }


def _logs_of(block: Block) -> list[dict[str, Any]]:
    logs: list[dict[str, Any]] = []
    for place, transaction in enumerate(block.transactions):
        for move in transaction.moves if transaction.ok else ():
            logs.append(_log(block, place, transaction, move, len(logs)))
    return logs


def _log(block: Block, place: int, transaction: Transaction, move: Move, index: int) -> dict[str, Any]:
    return {
        "address": move.contract,
        "topics": [token.TRANSFER_TOPIC, token.slot_of(move.sender), token.slot_of(move.to)],
        "data": f"0x{move.amount_units:064x}",
        "blockNumber": hex(block.number),
        "blockHash": block.hash,
        "transactionHash": transaction.hash,
        "transactionIndex": hex(place),
        "logIndex": hex(index),
        "removed": False,
    }


def _matches(log: dict[str, Any], query: dict[str, Any]) -> bool:
    wanted = [query.get("address"), *query.get("topics", [])]
    told = [log["address"], *log["topics"]]
    if len(wanted) > len(told):
        return False
    return all(_fits(have, want) for have, want in zip(told, wanted, strict=False))


def _fits(have: str, want: Any) -> bool:
    if want is None or want == []:
        return True
    choices = want if isinstance(want, list) else [want]
    return have in [str(choice).lower() for choice in choices]


@click.command()
@click.option("--port", type=int, default=0, help="0 takes a free port.")
@click.option("--host", default="127.0.0.1")
@click.option("--chain-id", type=int, default=DEV_CHAIN_ID)
@click.option("--block-time", type=float, help="Seconds; without it only transfers and `tenure_mine` mine.")
@click.option("--file", type=click.Path(path_type=Path), help="Keep the chain here, and go on from it.")
def main(port: int, host: str, chain_id: int, block_time: float | None, file: Path | None) -> None:
    """Run the simulated chain until it is stopped."""
    run_until_stopped(
        ChainStandIn(chain_id=chain_id, port=port, host=host, block_time_s=block_time, file=file)
    )


if __name__ == "__main__":
    main()
