"""Logs: one JSON object a line, libraries' lines included, secrets masked.

The message is the event's name, everything else is a key. Context bound with `structlog.contextvars`
(iteration, request) is on every line in between.
"""

from __future__ import annotations

import logging
import logging.config
import sys
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from typing import Any, Final, TextIO

import structlog

_MASK: Final = "***"
_SHORTEST_SECRET: Final = 6
_secrets: set[str] = set()
_ERRORS: Final = ("error", "critical")
_listeners: list[Callable[[Mapping[str, Any]], None]] = []  # one at most


def mask_in_logs(values: Iterable[str]) -> None:
    """Replace these values wherever they would appear in a log line from now on."""
    _secrets.update(value for value in values if len(value) >= _SHORTEST_SECRET)


def on_errors(listener: Callable[[Mapping[str, Any]], None]) -> None:
    """Tell the listener of every line of level error from now on: unmasked, with the exception as an object.

    There is one: another takes its place. It is called by whoever logs, so it must neither wait nor raise,
    nor log errors itself.
    """
    _listeners[:] = [listener]


def masked(text: str) -> str:
    """The text without any of the registered secrets."""
    for secret in _secrets:
        if secret in text:
            text = text.replace(secret, _MASK)
    return text


def _mask(_logger: object, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key, value in event.items():
        if isinstance(value, str):
            event[key] = masked(value)
        elif isinstance(value, BaseException):
            event[key] = masked(str(value))
    return event


def _tell(_logger: object, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    if event.get("level") in _ERRORS:
        for listener in _listeners:
            listener(dict(event))
    return event


def _rename(_logger: object, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    # Contract: `ts level event ...`, in this order, so that a person can read a raw line.
    ordered = {"ts": event.pop("timestamp", None), "level": event.pop("level", None)}
    ordered["event"] = event.pop("event", None)
    return {**ordered, **event}


class _Lines:
    """Where our own loggers write to: the one handler's stream, under its lock."""

    def __init__(self, handler: logging.StreamHandler[TextIO], name: str) -> None:
        self.name = name  # read by `add_logger_name`
        self._handler = handler

    def msg(self, line: str) -> None:
        """Write one line."""
        handler = self._handler
        handler.acquire()  # re-entrant: a signal's handler may log too
        try:
            handler.stream.write(line + "\n")
            handler.flush()
        except (OSError, ValueError) as error:
            # A full disk or a closed pipe: work goes on without its log. Libraries' lines end here too.
            handler.handleError(logging.makeLogRecord({"msg": line, "exc_info": error}))
        finally:
            handler.release()

    debug = info = warning = error = critical = msg


def configure_logging(*, role: str, level: str = "INFO", stream: TextIO | None = None) -> None:
    """Send every line of this process as JSON to standard error (or `stream`), marked with the role.

    Our own lines are rendered without the standard library's logging: it would cost a run more than its
    START in the ledger does. Libraries' lines come through it and are rendered by the same steps.
    """

    def add_role(_logger: object, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event.setdefault("role", role)
        return event

    gather: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        add_role,
        _tell,
        structlog.processors.format_exc_info,
    ]
    render: list[Any] = [_mask, _rename, structlog.processors.JSONRenderer(default=str)]
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=gather,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for noisy in ("urllib3", "kombu", "amqp"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    structlog.configure(
        processors=[*gather, *render],
        logger_factory=lambda name: _Lines(handler, name),
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        cache_logger_on_first_use=False,  # a process may configure again: a command after its bootstrap
    )


def get_logger(name: str) -> structlog.typing.FilteringBoundLogger:
    """A logger whose calls read `log.info("event.name", key=value)`."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger(name)
    return logger
