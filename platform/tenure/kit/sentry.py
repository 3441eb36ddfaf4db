"""The one place that knows Sentry: makes reports of logged errors and posts them through `kit.http`.

Of Sentry's own library only the making of reports is used: no integration is switched on, nothing is patched,
and neither variables nor requests are looked at. What is told is what the log has, with the same secrets
masked, and besides them everything that has the shape of a token, and e-mail addresses.

A report never holds up or harms what it tells of: it waits in a bounded queue for a thread of its own, and is
dropped when Sentry does not keep up.
"""

from __future__ import annotations

import atexit
import os
import queue
import re
import sys
import threading
from collections.abc import Callable, Mapping
from contextvars import Context
from typing import Any, Final, cast

import sentry_sdk
from sentry_sdk.envelope import Envelope
from sentry_sdk.transport import Transport
from sentry_sdk.types import Event, Hint
from sentry_sdk.utils import event_from_exception

from tenure import __version__
from tenure.errors import TenureError
from tenure.kit import clock
from tenure.kit.http import Bounds, ErrorAnswer, HttpDoor
from tenure.kit.logging import get_logger, masked

_log = get_logger(__name__)
_MOST_WAITING: Final = 100
_BOUNDS: Final = Bounds(connect_s=5.0, read_s=5.0, total_s=10.0)
_LAST_WORDS_S: Final = 2.0
_LONGEST_REST_S: Final = 300.0
_REST_S: Final = 30.0
_TAGS: Final = ("role", "job", "error_type")
# Keys of a line that are told in fields of their own, or not at all.
_TOLD_ELSEWHERE: Final = {"event", "level", "logger", "timestamp", "exc_info", "exception", *_TAGS}
# Our own credentials, JSON web tokens, credentials in headers, passwords in URLs, e-mail addresses.
_SECRET_SHAPES: Final = re.compile(
    r"(?:tnk|tnr|tkt|whsec)_[\w.+/=-]{8,}"
    r"|eyJ[\w-]{5,}\.[\w-]+(?:\.[\w-]+)?"
    r"|(?i:\b(?:bearer|basic)\s+[\w.+/=~-]{8,})"
    r"|(?<=://)[^\s/@:]*:[^\s/@]+(?=@)"
    r"|[\w.+-]+@(?:[\w-]+\.)+[A-Za-z]{2,}"
)


class Reporter:
    """Makes reports of log lines."""

    def __init__(self, dsn: str, *, environment: str) -> None:
        """Sends nothing yet."""
        self._client = sentry_sdk.Client(
            dsn=dsn,
            transport=DoorTransport,
            environment=environment,
            release=f"tenure@{__version__}",
            default_integrations=False,
            auto_enabling_integrations=False,
            auto_session_tracking=False,
            enable_backpressure_handling=False,
            include_local_variables=False,
            include_source_context=False,
            send_client_reports=False,
            send_default_pii=False,
            max_breadcrumbs=0,
            shutdown_timeout=_LAST_WORDS_S,
            before_send=_scrubbed,
        )
        atexit.register(self._client.flush, _LAST_WORDS_S)

    def report(self, line: Mapping[str, Any]) -> None:
        """Tell of this line; nothing that goes wrong here reaches whoever logged it."""
        try:
            event, hint = self._event(line)
            self._client.capture_event(event, hint)
        except Exception as error:  # noqa: BLE001 - whatever it is, the line itself is in the log
            _log.warning("errors.not_reported", error_type=type(error).__name__)

    def _event(self, line: Mapping[str, Any]) -> tuple[Event, Hint]:
        said, exc_info = str(line.get("event")), line.get("exc_info")
        event, hint = cast(Event, {}), cast(Hint, {})
        if exc_info:
            caught = sys.exc_info() if exc_info is True else exc_info
            mechanism = {"type": "logging", "handled": True}
            event, hint = event_from_exception(
                caught, client_options=self._client.options, mechanism=mechanism
            )
        event["level"] = "fatal" if line.get("level") == "critical" else "error"
        event["logger"] = str(line.get("logger"))
        event["logentry"] = {"message": said}
        event["tags"] = {name: str(line[name]) for name in _TAGS if line.get(name) is not None}
        event["extra"] = {name: str(value) for name, value in line.items() if name not in _TOLD_ELSEWHERE}
        return event, hint


def _scrubbed(event: Event, _hint: Hint) -> Event:
    return cast(Event, _without_secrets(event))


def _without_secrets(value: Any) -> Any:
    match value:
        case str():
            return _SECRET_SHAPES.sub("***", masked(value))
        case dict():
            return {key: _without_secrets(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_without_secrets(inner) for inner in value]
        case _:
            return value


class DoorTransport(Transport):
    """Posts reports, one after the other, in a thread that each process starts for its first one."""

    def __init__(self, options: Any = None) -> None:
        """Opens nothing yet. The DSN may name an address of one's own network: it comes from the settings."""
        super().__init__(options)
        if self.parsed_dsn is None:
            raise ValueError("a transport without a DSN")
        auth = self.parsed_dsn.to_auth(f"tenure/{__version__}")
        self._url = auth.get_api_url()
        self._headers = {"content-type": "application/x-sentry-envelope", "x-sentry-auth": auth.to_header()}
        self._door = HttpDoor(allow_private=True, pool_size=1)
        self._waiting: queue.Queue[bytes] = queue.Queue()
        self._owner_pid = 0
        self._silent_until = 0.0

    def capture_envelope(self, envelope: Envelope) -> None:
        """The report waits to be sent, or is dropped when too many wait."""
        self._belong_to_this_process()
        try:
            self._waiting.put_nowait(envelope.serialize())
        except queue.Full:
            _log.warning("errors.not_reported", error_type="QueueFull")

    def flush(self, timeout: float, callback: Callable[..., Any] | None = None) -> None:  # noqa: ARG002
        """What waits has been sent, or the time is up."""
        if self._owner_pid != os.getpid():
            return
        with self._waiting.all_tasks_done:
            self._waiting.all_tasks_done.wait_for(lambda: not self._waiting.unfinished_tasks, timeout)

    def _belong_to_this_process(self) -> None:
        if self._owner_pid == os.getpid():
            return
        # After a fork neither the parent's thread nor what waited there is ours.
        self._waiting = queue.Queue(_MOST_WAITING)
        self._owner_pid = os.getpid()
        # In a context of its own: whoever logs may be within a transaction.
        arguments = (self._work, self._waiting)
        threading.Thread(target=Context().run, args=arguments, name="error-reports", daemon=True).start()

    def _work(self, waiting: queue.Queue[bytes]) -> None:
        while True:
            body = waiting.get()
            try:
                if clock.monotonic() >= self._silent_until:
                    self._door.request("POST", self._url, headers=self._headers, body=body, bounds=_BOUNDS)
            except TenureError as error:
                self._rest(error)
            finally:
                waiting.task_done()

    def _rest(self, error: TenureError) -> None:
        """A Sentry that refuses or is away is left alone for a while; what comes meanwhile is dropped."""
        wish = error.retry_after_s if isinstance(error, ErrorAnswer) else None
        rest_s = min(_LONGEST_REST_S, max(_REST_S, wish or 0.0))
        self._silent_until = clock.monotonic() + rest_s
        _log.warning("errors.not_reported", error=error.message, rest_s=rest_s)
