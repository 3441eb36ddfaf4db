"""The HTTP API as a Python object: answers are plain JSON, problems are exceptions."""

from __future__ import annotations

import json as jsonlib
from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlencode

from tenure.client.attempts import Deadline, repeated
from tenure.client.channels import Position
from tenure.client.credentials import ApiKey, Credential, SignIn
from tenure.client.errors import Problem, problem_of
from tenure.client.live import Live
from tenure.client.wire import Place
from tenure.errors import Invalid
from tenure.kit.http import Answer, Bounds, ErrorAnswer, HttpDoor
from tenure.kit.ids import new_id

DEADLINE_S: Final = 30.0
_PAGE: Final = 200
_UNAUTHORIZED: Final = 401
_REPEATABLE: Final = frozenset({"GET", "HEAD"})


class Client:
    """A running Tenure. May be shared between threads. Use it in a `with`, or `close` it."""

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        email: str | None = None,
        password: str | None = None,
        deadline_s: float = DEADLINE_S,
        ca_file: str | None = None,
    ) -> None:
        """`url` is that of the server, such as `https://tenure.example`. Nothing is asked yet.

        Give either an API key, or an e-mail address and a password. `deadline_s` bounds each call with all
        its repeats.
        """
        self._url = url.rstrip("/")
        self._deadline_s = deadline_s
        self._ca_file = ca_file
        self._door = HttpDoor(allow_private=True, ca_file=ca_file, user_agent="tenure-client")
        self.credential = self._chosen(api_key, email, password)

    def _chosen(self, api_key: str | None, email: str | None, password: str | None) -> Credential:
        if api_key is not None and email is None and password is None:
            return ApiKey(api_key)
        if api_key is None and email is not None and password is not None:
            return SignIn(self._post_open, email, password)
        raise Invalid("give an api_key, or an email and a password")

    def __repr__(self) -> str:
        return f"Client({self._url!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let the kept connections go."""
        self._door.close()

    # -- calls ------------------------------------------------------------------------------------------

    def get(self, path: str, **query: Any) -> Any:
        """What lies at this path below `/api/v1`."""
        return self._call("GET", path, query=query)

    def post(self, path: str, json: Any = None, *, key: str | None = None) -> Any:
        """POST, once: repeats carry the same `Idempotency-Key`, yours or one made for this call."""
        key = key or new_id("idk")
        return self._call("POST", path, json=json, headers={"Idempotency-Key": key}, repeatable=True)

    def patch(self, path: str, json: Any) -> Any:
        """PATCH; repeated only where the server certainly did nothing."""
        return self._call("PATCH", path, json=json)

    def delete(self, path: str) -> None:
        """DELETE; repeated only where the server certainly did nothing."""
        self._call("DELETE", path)

    def pages(self, path: str, **query: Any) -> Iterator[dict[str, Any]]:
        """Every item of a list, page after page."""
        query = {"limit": _PAGE, **query}
        while True:
            page = self.get(path, **query)
            yield from page["items"]
            if page["next_cursor"] is None:
                return
            query["cursor"] = page["next_cursor"]

    def events(self, *, after: int = 0) -> Iterator[dict[str, Any]]:
        """Every event behind this `seq`, in the order in which they happened."""
        while True:
            page = self.get("/events", after=after, limit=_PAGE)
            yield from page["items"]
            if page["next_cursor"] is None:
                return
            after = int(page["next_cursor"])

    def live(self, channels: Iterable[str], *, since: Mapping[str, Position] | None = None) -> Live:
        """Follow these channels; iterate over the answer, and close it (or use it in a `with`).

        `since` takes up where an earlier `Live.positions` stood.
        """
        return Live(Place(self._url, self._ca_file), self.credential, channels, since=since)

    # -- one call ---------------------------------------------------------------------------------------

    def _call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
        repeatable: bool = False,
    ) -> Any:
        deadline = Deadline.after(self._deadline_s)
        target = path + _query(query)
        repeatable = repeatable or method in _REPEATABLE
        token = self.credential.token()
        try:
            return self._tried(method, target, json, headers, token, deadline, repeatable)
        except Problem as problem:
            if problem.answered_status != _UNAUTHORIZED or not self.credential.renew():
                raise
        token = self.credential.token()
        return self._tried(method, target, json, headers, token, deadline, repeatable)

    def _tried(
        self,
        method: str,
        target: str,
        json: Any,
        headers: Mapping[str, str] | None,
        token: str | None,
        deadline: Deadline,
        repeatable: bool,
    ) -> Any:
        sent = dict(headers or {})
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        try:
            answer = repeated(
                lambda: self._sent(method, target, json, sent, deadline),
                deadline=deadline,
                repeatable=repeatable,
            )
        except ErrorAnswer as error:
            problem = problem_of(error)
        else:
            return jsonlib.loads(answer.body) if answer.body else None
        raise problem

    def _sent(
        self, method: str, target: str, json: Any, headers: Mapping[str, str], deadline: Deadline
    ) -> Answer:
        left = max(0.1, deadline.left_s)
        bounds = Bounds(connect_s=min(5.0, left), read_s=left, total_s=left)
        url = f"{self._url}/api/v1{target}"
        return self._door.request(
            method, url, headers=headers, json=json, bounds=bounds, max_bytes=64_000_000
        )

    def _post_open(self, path: str, json: dict[str, Any]) -> Any:
        """Signing in: no credential yet, and no key, because its answer may not be stored."""
        deadline = Deadline.after(self._deadline_s)
        return self._tried("POST", path, json, None, None, deadline, repeatable=False)


def _query(values: Mapping[str, Any] | None) -> str:
    given = {name: _word(value) for name, value in (values or {}).items() if value is not None}
    return "?" + urlencode(given) if given else ""


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
