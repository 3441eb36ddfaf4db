"""The one door to the network for HTTP.

One session in each process, kept-alive connections, no redirects, no cookies, no proxies from the
environment, certificates verified, a total deadline for every call, a cap on the answer's size, and private
addresses refused unless allowed. Nothing is retried here.

What went wrong is told by type, because callers must know whether the other side may have acted:
`Unsent` (certainly not), `Unanswered` (it may have), `ErrorAnswer` (it answered that it did not).
Errors name the host, never the path: paths carry tokens.
"""

from __future__ import annotations

import json as jsonlib
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy
from typing import Any, Final
from urllib.parse import urlsplit

import requests
import urllib3
from requests import Session as RequestsSession  # noqa: TID251 - this is the place
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from tenure.errors import Transient
from tenure.kit import clock
from tenure.kit.logging import masked
from tenure.kit.retry import retry_after_s
from tenure.kit.sockets import AddressRefused, Bounds, Call, Unsent, bounded, connect, tls_context

__all__ = ["AddressRefused", "Answer", "Bounds", "ErrorAnswer", "HttpDoor", "Unanswered", "Unsent"]

_CHUNK: Final = 65_536
_EXCERPT: Final = 300
_FIRST_ERROR_STATUS: Final = 300
# Servers close idle connections after 5 s and more; one that rested longer may die under the next request,
# and then nobody can tell whether that request was read.
_TRUST_IDLE_S: Final = 4.0


class Unanswered(Transient):
    """The request was written and no whole answer came: the other side may have acted."""

    code = "unanswered"

    def __init__(self, reason: str, message: str, *, status: int | None = None) -> None:
        """`reason` is `timeout`, `cut` or `too_large`; `status` is set if at least the head arrived (2xx)."""
        self.reason = reason
        self.answered_status = status
        super().__init__(message, reason=reason)


class ErrorAnswer(Transient):
    """The other side answered with something else than success."""

    code = "error_answer"

    def __init__(self, status: int, body: bytes, retry_after: float | None, message: str) -> None:
        """`excerpt` is the start of the body: the other side's words, to be shown as such."""
        self.answered_status = status
        self.body = body
        # It is kept and shown, and a careless server quotes the request: with the token in its path.
        self.excerpt = masked(body[: _EXCERPT * 4].decode("utf-8", "replace"))[:_EXCERPT]
        self.retry_after_s = retry_after
        super().__init__(message, answered_status=status)


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer with a 2xx status. Header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON. Raises ValueError when it is none."""
        return jsonlib.loads(self.body)


class HttpDoor:
    """Makes requests. Safe to share between threads, and across a fork: each process has its own session."""

    def __init__(
        self,
        *,
        allow_private: bool = False,
        pool_size: int = 16,
        ca_file: str | None = None,
        user_agent: str = "tenure",
    ) -> None:
        """Opens nothing yet. Unless private addresses are allowed, only https to public ones is."""
        self.allow_private = allow_private
        self._pool_size = pool_size
        self._ca_file = ca_file
        self._user_agent = user_agent
        self._lock = threading.Lock()
        self._session: RequestsSession | None = None
        self._owner_pid = 0

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        json: Any = None,
        bounds: Bounds | None = None,
        max_bytes: int = 1_000_000,
    ) -> Answer:
        """One request, one whole 2xx answer.

        Raises Unsent (AddressRefused for a private address), Unanswered, ErrorAnswer, or BrokenRule inside a
        transaction. Redirects are error answers: they are never followed.
        """
        label = f"{method} {self._checked_origin(url)}"
        sent = {"user-agent": self._user_agent, "accept-encoding": "identity", **(headers or {})}
        if json is not None:
            body = jsonlib.dumps(json, separators=(",", ":")).encode()
            sent.setdefault("content-type", "application/json")
        limits = bounds or Bounds()
        with bounded(limits) as call:
            outcome = self._exchange(call, label, method, url, sent, body, max_bytes)
        # Raised out here, so that no library's exception (they quote the whole URL) hangs on as context.
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def close(self) -> None:
        """Close this process's kept connections; the next request opens new ones."""
        with self._lock:
            session, self._session = self._session, None
        if session is not None and self._owner_pid == os.getpid():
            session.close()

    def _checked_origin(self, url: str) -> str:
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            raise Unsent("url", "the URL is malformed") from None
        if parts.scheme not in {"http", "https"} or not host:
            raise Unsent("url", "the URL must be http:// or https:// with a host")
        if not self.allow_private and (parts.scheme != "https" or parts.username is not None):
            raise AddressRefused("address", f"{host}: only https without a password in the URL is allowed")
        return f"{parts.scheme}://{host}" + (f":{port}" if port else "")

    def _exchange(
        self,
        call: Call,
        label: str,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
        max_bytes: int,
    ) -> Answer | Exception:
        try:
            response = self._opened().request(
                method,
                url,
                data=body,
                headers=headers,
                timeout=(call.bounds.connect_s, call.bounds.read_s),
                stream=True,
                allow_redirects=False,
            )
        except Unsent as error:
            return error
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            return _failure(call, label, error)
        with response:
            return _whole(call, label, response, max_bytes)

    def _opened(self) -> RequestsSession:
        with self._lock:
            if self._session is None or self._owner_pid != os.getpid():
                # After a fork the parent's session is left alone: its sockets belong to the parent.
                self._session, self._owner_pid = self._new_session(), os.getpid()
            return self._session

    def _new_session(self) -> RequestsSession:
        session = RequestsSession()
        session.trust_env = False
        if self._ca_file is not None:
            session.verify = self._ca_file
        session.headers.clear()
        session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        adapter = _Adapter(self.allow_private, self._pool_size, self._ca_file)
        session.mount("http://", adapter)
        session.mount("https://", adapter)
        return session


def _failure(call: Call, label: str, error: Exception) -> Exception:
    late = isinstance(error, requests.Timeout | TimeoutError) or "timed out" in str(error)
    if not call.wrote:
        # The connection stood (connect() tells its own failures), so it was TLS, or time ran out under it.
        reason = "tls" if isinstance(error, requests.exceptions.SSLError) else "deadline" if late else "url"
        return Unsent(reason, f"{label}: not sent ({reason})")
    reason = "timeout" if late or call.is_over else "cut"
    return Unanswered(reason, f"{label}: sent, but no answer came ({reason})")


def _whole(call: Call, label: str, response: requests.Response, max_bytes: int) -> Answer | Exception:
    parts: list[bytes] = []
    size, broken = 0, ""
    try:
        for chunk in response.iter_content(_CHUNK):
            parts.append(chunk)
            size += len(chunk)
            if size > max_bytes:
                broken = "too_large"
                break
    except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
        broken = "timeout" if call.is_over or "timed out" in str(error) else "cut"
    body = b"".join(parts)
    status = response.status_code
    if status >= _FIRST_ERROR_STATUS:
        # The status is the answer; a body that broke off only makes the excerpt shorter.
        wish = retry_after_s(response.headers.get("retry-after"), now=clock.utc_now())
        return ErrorAnswer(status, body, wish, f"{label}: answered {status}")
    if broken:
        return Unanswered(broken, f"{label}: the answer {status} is not whole ({broken})", status=status)
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Answer(status, headers, body)


class _Adapter(HTTPAdapter):
    """Hands connections to our pools: checked addresses, bounded sockets, no retries."""

    def __init__(self, allow_private: bool, pool_size: int, ca_file: str | None) -> None:
        """`pool_size` connections are kept for each host."""
        self._allow_private = allow_private
        self._ca_file = ca_file
        super().__init__(pool_connections=64, pool_maxsize=pool_size, max_retries=0)

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **kwargs: Any) -> None:
        """Called by the base class; also by pickling, which we do not do."""
        super().init_poolmanager(
            connections, maxsize, block=block, ssl_context=tls_context(self._ca_file), **kwargs
        )
        self.poolmanager.pool_classes_by_scheme = (
            {"http": _AnyPlainPool, "https": _AnyTLSPool}
            if self._allow_private
            else {"http": _PublicPlainPool, "https": _PublicTLSPool}
        )


class _RestedPool(HTTPConnectionPool):
    """A pool that does not trust a connection which rested long."""

    def _get_conn(self, timeout: float | None = None) -> Any:
        connection: Any = super()._get_conn(timeout)
        if clock.monotonic() - getattr(connection, "rests_since", clock.monotonic()) > _TRUST_IDLE_S:
            connection.close()  # the next request on it connects anew
        return connection

    def _put_conn(self, conn: Any) -> None:
        if conn is not None:
            conn.rests_since = clock.monotonic()
        super()._put_conn(conn)


class _Connection(HTTPConnection):
    """Connects only to addresses that were checked."""

    def _new_conn(self) -> Any:
        return connect(self.host, self.port or 80, allow_private=False)


class _TLSConnection(HTTPSConnection):
    """The same under TLS; name and certificate are still those of the URL."""

    def _new_conn(self) -> Any:
        return connect(self.host, self.port or 443, allow_private=False)


class _AnyConnection(HTTPConnection):
    """Connects to private addresses as well."""

    def _new_conn(self) -> Any:
        return connect(self.host, self.port or 80, allow_private=True)


class _AnyTLSConnection(HTTPSConnection):
    """The same under TLS."""

    def _new_conn(self) -> Any:
        return connect(self.host, self.port or 443, allow_private=True)


class _PublicPlainPool(_RestedPool):
    """Plain connections to public addresses."""

    ConnectionCls = _Connection


class _PublicTLSPool(_RestedPool, HTTPSConnectionPool):
    """TLS connections to public addresses."""

    ConnectionCls = _TLSConnection


class _AnyPlainPool(_RestedPool):
    """Plain connections to any address."""

    ConnectionCls = _AnyConnection


class _AnyTLSPool(_RestedPool, HTTPSConnectionPool):
    """TLS connections to any address."""

    ConnectionCls = _AnyTLSConnection
