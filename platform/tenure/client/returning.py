"""After an end: whether to come back, when, and as whom. The meaning of each close code is the contract's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

from tenure.client.attempts import full_jitter_s
from tenure.client.credentials import Credential
from tenure.client.errors import LiveEnded, Problem
from tenure.client.wire import ABNORMAL, Closed
from tenure.errors import Transient
from tenure.kit.retry import Backoff

T = TypeVar("T")
PASSING: Final = frozenset({"throttled", "unavailable"})
_BACKOFF: Final = Backoff(first_s=0.5, cap_s=30.0)
_HEALTHY_S: Final = 30.0
_AT_LEAST_WHEN_THROTTLED_S: Final = 30.0
_GOING_AWAY: Final = 1001
_AUTH: Final = 4001
_TOO_LATE: Final = "auth_timeout"  # says nothing about the credential
_STATE_LOST: Final = 4010
_THROTTLED: Final = 4029
# Our frames are wrong, or we are not welcome: coming back would meet the same end.
_FINAL: Final = frozenset({1002, 1003, 1007, 1009, 4000, 4003})
_BUSY: Final = frozenset({429, 500, 502, 503, 504})


class Returning:
    """What is remembered from connection to connection."""

    def __init__(self, credential: Credential) -> None:
        """Nothing has failed yet."""
        self._credential = credential
        self._failures = 0
        self._renewed = False
        self._told_s: float | None = None

    def told(self, reconnect_in_ms: Any) -> None:
        """The server has named the moment of the return."""
        if isinstance(reconnect_in_ms, int | float):
            self._told_s = max(0.0, float(reconnect_in_ms) / 1000)

    def arrived(self) -> None:
        """A connection is open: its credential was good."""
        self._renewed = False

    def signed_in(self) -> str:
        """A token for the next connection. Raises Problem when the credential is not good any more."""
        return self._asked(self._credential.token)

    def next_token(self) -> str | None:
        """A token for the open connection, whose own ends soon; None while none can be had.

        Then the server ends the connection in time, and coming back asks again. Raises Problem when the
        credential is not good any more.
        """
        try:
            return self._asked(self._credential.token) if self._asked(self._credential.renew) else None
        except Closed:
            return None

    def after(self, closed: Closed, *, lasted_s: float) -> tuple[float, bool]:
        """Seconds to wait, and whether all places are lost. Raises LiveEnded or Problem when it is over."""
        if closed.code in _FINAL or (closed.status is not None and closed.status not in _BUSY):
            raise LiveEnded(closed.code, closed.reason or f"HTTP {closed.status}")
        if lasted_s > _HEALTHY_S:
            self._failures = 0
        told, self._told_s = self._told_s, None
        if closed.code == _GOING_AWAY and told is not None:
            return told, False
        wish = closed.retry_after_s
        if closed.code == _AUTH and closed.reason != _TOO_LATE:
            wish = self._sign_in_again(closed)
        self._failures += 1
        pause = max(full_jitter_s(self._failures, backoff=_BACKOFF), wish or 0.0)
        if closed.code == _THROTTLED:
            pause = max(pause, _AT_LEAST_WHEN_THROTTLED_S)
        return pause, closed.code == _STATE_LOST

    def _sign_in_again(self, closed: Closed) -> float | None:
        """Get the next token; if the server cannot say now, the seconds that it wants to be left alone."""
        if self._renewed:
            raise LiveEnded(closed.code, closed.reason)
        try:
            if not self._asked(self._credential.renew):
                raise LiveEnded(closed.code, closed.reason)
        except Closed as busy:
            return busy.retry_after_s  # the next connection asks again
        self._renewed = True
        return None

    def _asked(self, question: Callable[[], T]) -> T:
        """The credential's answer. Raises Closed while the server cannot give one, Problem for a no."""
        try:
            return question()
        except Transient as error:
            raise Closed(ABNORMAL, "sign-in") from error
        except Problem as problem:
            if problem.answered_status in _BUSY:
                raise Closed(ABNORMAL, "sign-in", retry_after=problem.retry_after_s) from problem
            raise
