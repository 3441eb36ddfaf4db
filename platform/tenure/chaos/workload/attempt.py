"""One operation of a client: asked again under the same key until it is decided, each try in the history."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Final

from tenure.chaos.history import History, Kind
from tenure.kit.http import ErrorAnswer, Unanswered
from tenure.kit.sockets import Unsent

_FIRST_OWN_ERROR: Final = 500
_TOO_MANY: Final = 429
_PAUSE_S: Final = 0.7
_TRIES: Final = 60


class Attempts:
    """The attempts of one client. It gives up when `stopping` is set, and leaves what is open as it is."""

    def __init__(self, process: str, history: History, stopping: threading.Event) -> None:
        """`process` names the client in the history."""
        self.process = process
        self._history = history
        self._stopping = stopping

    def __call__(self, f: str, key: str, act: Callable[[], Any]) -> Any:
        """What `act` returned, or None when it was refused or is open."""
        for _ in range(_TRIES):
            self._history.add(self.process, f, Kind.INVOKE, key)
            kind, value, again, result = _tried(act)
            self._history.add(self.process, f, kind, key, value)
            if not again:
                return result
            if self._stopping.wait(_PAUSE_S):
                return None
        return None


def _tried(act: Callable[[], Any]) -> tuple[Kind, dict[str, Any], bool, Any]:
    """What one try came to: its kind, what is noted of it, whether to ask again, and its result."""
    try:
        result = act()
    except Unsent as error:
        return Kind.FAIL, {"error": error.reason}, True, None
    except Unanswered as error:
        return Kind.INFO, {"error": error.reason}, True, None
    except ErrorAnswer as error:
        status = error.answered_status
        # Of an error of its own the server may have done everything but the answer.
        kind = Kind.INFO if status >= _FIRST_OWN_ERROR else Kind.FAIL
        value = {"status": status, "said": error.excerpt[:200]}
        return kind, value, status >= _FIRST_OWN_ERROR or status == _TOO_MANY, None
    return Kind.OK, {}, False, result
