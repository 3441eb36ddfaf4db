"""A door to one integration: every call asks its guard first and tells it how the call ended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Protocol

from tenure.kit.breaker import Told
from tenure.kit.http import AddressRefused, Answer, Bounds, ErrorAnswer, HttpDoor, Unanswered, Unsent

_SERVER_ERROR: Final = 500


class Pass(Protocol):
    """Leave for one call."""

    def tell(self, told: Told) -> None:
        """Say how the call ended; exactly once."""
        ...


class Guard(Protocol):
    """Stands before one integration."""

    def enter(self) -> Pass:
        """Leave for one call. Raises Held."""
        ...


class GuardedDoor(HttpDoor):
    """The given door, for calls to one integration alone."""

    def __init__(self, door: HttpDoor, guard: Guard) -> None:
        """Connections stay the given door's."""
        super().__init__(allow_private=door.allow_private)
        self._door = door
        self._guard = guard

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
        """As the given door's; raises Held (an Unsent) when the integration is not called now."""
        leave = self._guard.enter()
        told = Told.NONE
        try:
            answer = self._door.request(
                method, url, headers=headers, body=body, json=json, bounds=bounds, max_bytes=max_bytes
            )
            told = Told.OK
        except (Unsent, Unanswered, ErrorAnswer) as error:
            told = _health(error)
            raise
        finally:
            leave.tell(told)
        return answer

    def close(self) -> None:
        """Close the given door's connections."""
        self._door.close()


def _health(error: Unsent | Unanswered | ErrorAnswer) -> Told:
    """What a failed call says of the other side: an answer below 500 is a sign of life."""
    if isinstance(error, ErrorAnswer):
        return Told.FAIL if error.answered_status >= _SERVER_ERROR else Told.OK
    if isinstance(error, AddressRefused) or error.reason in {"url", "too_large"}:
        return Told.NONE  # it is ours, or a question too large
    return Told.FAIL
