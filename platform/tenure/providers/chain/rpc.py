"""JSON-RPC 2.0 over POST, single or batched, to any of several nodes of one chain.

A node is trusted only after it named the right chain id. The node that answered last is asked first, so that
one poll sees one node's view. Node URLs hold keys in their paths: only hosts are ever shown.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from tenure.kit.http import Answer, Bounds, ErrorAnswer, HttpDoor, Unanswered, Unsent
from tenure.kit.logging import masked
from tenure.payments.ports import ChainUnavailable, WrongChain

Call = tuple[str, list[Any]]

_LARGEST_ANSWER: Final = 64_000_000
_TOO_LARGE: Final = 413
_LOGS: Final = "eth_getLogs"
_RPC_BOUNDS: Final = Bounds(connect_s=3, read_s=6, total_s=8)
# How nodes and their hosts say "ask for less" (there is no standard): limits on blocks, results and time.
_LESS_CODES: Final = {-32005, -32047, -32062}
_LESS_WORDS: Final = (
    "range",
    "too many",
    "too large",
    "limit",
    "exceed",
    "more than",
    "timeout",
    "timed out",
    "response size",
    "batch",
)
# These limits are about how often, not how much: asking for less would only ask more often.
_RATE_WORDS: Final = ("rate limit", "rate-limit", "too many requests", "requests per", "quota", "capacity")
# The node does not have the block yet: another one may, and a smaller question would not help.
_BEHIND_WORDS: Final = ("outofrange", "out of range", "block height", "unknown block", "head block", "beyond")
_BATCH_REFUSING: Final = {400, 413, 422}
_LARGEST_BATCH: Final = 100


class AskLess(ChainUnavailable):
    """The node will not answer a question this large; a smaller one may do."""

    code = "ask_less"


class _NodeFailed(Exception):
    """This node gave no useful answer; another may."""


class JsonRpc:
    """Asks the nodes of one chain. Safe to share between threads."""

    def __init__(
        self,
        door: HttpDoor,
        *,
        name: str,
        urls: Sequence[str],
        chain_id: int,
        bounds: Bounds = _RPC_BOUNDS,
        doors: Sequence[HttpDoor] | None = None,
    ) -> None:
        """Asks nothing yet; each node's chain id is checked before its first answer counts.

        `doors`: one for each URL, instead of `door`.
        """
        self._doors = dict(zip(urls, doors or [door] * len(urls), strict=True))
        self._name = name
        self._urls = list(urls)
        self._chain_id = chain_id
        self._bounds = bounds
        self._checked: set[str] = set()
        self._largest_batch = _LARGEST_BATCH

    def call(self, method: str, *params: Any) -> Any:
        """One call's result. Raises ChainUnavailable, WrongChain or AskLess."""
        return self._on_some_node([(method, list(params))])[0]

    def batch(self, calls: Sequence[Call]) -> list[Any]:
        """The results in the calls' order, in as few requests as the nodes take."""
        results: list[Any] = []
        while len(results) < len(calls):
            piece = calls[len(results) : len(results) + self._largest_batch]
            try:
                results += self._on_some_node(piece)
            except AskLess:
                if len(piece) == 1:
                    raise
                self._largest_batch = max(1, len(piece) // 4)
            else:
                self._largest_batch = min(self._largest_batch + 1, _LARGEST_BATCH)
        return results

    def _on_some_node(self, calls: Sequence[Call]) -> list[Any]:
        failures: list[str] = []
        wrong: list[int] = []
        for url in list(self._urls):
            try:
                found = self._foreign_id(url)
                if found is not None:
                    wrong.append(found)
                    continue
                results = self._post(url, calls)
            except AskLess as limit:
                if len(calls) > 1 or calls[0][0] == _LOGS:
                    raise
                failures.append(f"{urlsplit(url).hostname}: {limit}")
                continue
            except _NodeFailed as failure:
                failures.append(f"{urlsplit(url).hostname}: {failure}")
                continue
            self._prefer(url)
            return results
        if wrong and not failures:
            raise WrongChain(f"{self._name}: the node serves chain {wrong[0]}, not {self._chain_id}")
        if wrong:
            failures.append(f"a node serves chain {wrong[0]}")
        raise ChainUnavailable(f"{self._name}: no node answers ({'; '.join(failures)})")

    def _foreign_id(self, url: str) -> int | None:
        """The chain id of a node that serves another chain; None for the right one."""
        if url in self._checked:
            return None
        told = self._post(url, [("eth_chainId", [])])[0]
        try:
            found = int(told, 16)
        except (TypeError, ValueError):
            raise _NodeFailed("no chain id") from None
        if found != self._chain_id:
            return found
        self._checked.add(url)
        return None

    def _prefer(self, url: str) -> None:
        if self._urls[0] != url:
            self._urls = [url, *(other for other in self._urls if other != url)]

    def _post(self, url: str, calls: Sequence[Call]) -> list[Any]:
        payload = [
            {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
            for number, (method, params) in enumerate(calls)
        ]
        question = payload[0] if len(payload) == 1 else payload
        try:
            answer = self._doors[url].request(
                "POST", url, json=question, bounds=self._bounds, max_bytes=_LARGEST_ANSWER
            )
        except Unsent as error:
            raise _NodeFailed(error.reason) from None
        except Unanswered as error:
            if error.reason == "too_large":
                raise AskLess("the answer is too large") from None
            raise _NodeFailed(error.reason) from None
        except ErrorAnswer as error:
            raise _refusal(error, len(calls)) from None
        return _results(answer, len(calls))


def _refusal(error: ErrorAnswer, count: int) -> Exception:
    if error.answered_status == _TOO_LARGE or (count > 1 and error.answered_status in _BATCH_REFUSING):
        return AskLess("the node finds the question too large")
    told = _parsed(error.body)
    if isinstance(told, dict) and isinstance(told.get("error"), dict):
        problem = _problem(told["error"])
        if isinstance(problem, AskLess):
            return problem
    return _NodeFailed(f"status {error.answered_status}")


def _results(answer: Answer, count: int) -> list[Any]:
    told = _parsed(answer.body)
    items = told if isinstance(told, list) else [told]
    if count > 1 and isinstance(told, dict) and not isinstance(told.get("id"), int):
        # One error for the whole batch: this node takes fewer calls at once, or one.
        problem = _problem(told.get("error"))
        raise problem if _is_about_rate(told.get("error")) else AskLess(str(problem))
    by_id: dict[int, Any] = {}
    for item in items:
        if not isinstance(item, dict):
            raise _NodeFailed("no JSON-RPC")
        if item.get("error") is not None:
            raise _problem(item["error"])
        if "result" not in item or not isinstance(item.get("id"), int):
            raise _NodeFailed("no JSON-RPC")
        by_id[item["id"]] = item["result"]
    if set(by_id) != set(range(count)):
        raise AskLess("the node left calls of a batch out") if count > 1 else _NodeFailed("no answer")
    return [by_id[number] for number in range(count)]


def _problem(told: Any) -> Exception:
    code = told.get("code") if isinstance(told, dict) else None
    words = _words(told)
    if _is_about_rate(told):
        return _NodeFailed("rate limit")
    if any(word in words for word in _BEHIND_WORDS):
        return _NodeFailed("it does not have the block yet")
    if code in _LESS_CODES or any(word in words for word in _LESS_WORDS):
        return AskLess(words[:200])
    return _NodeFailed(f"error {code}: {words[:100]}")


def _words(told: Any) -> str:
    return masked(str(told.get("message", "") if isinstance(told, dict) else told)).lower()


def _is_about_rate(told: Any) -> bool:
    return any(word in _words(told) for word in _RATE_WORDS)


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None
